// What OPA's client for JavaScript gets from a server, as one JSON object: `node client.js URL`.
// In every list the same is asked, whatever answers.
import { OPAClient } from "@open-policy-agent/opa";
import { OpaApiClient } from "@open-policy-agent/opa/sdk/sdk.js";

const url = process.argv[2];
const opa = new OPAClient(url);
const api = new OpaApiClient({ serverURL: url });
const inputs = {
  admin: { user: "alice", action: "read", type: "dog" },
  billing: { user: "bob", action: "read", type: "finance" },
  customer: { user: "eve", action: "adopt", type: "cat" },
  nobody: { user: "frank", action: "read", type: "dog" },
  unknown: { user: "mallory", action: "read", type: "dog" },
};
const said = {};
async function ask(name, question) {
  try {
    const answer = await question();
    said[name] = answer === undefined ? "undefined" : { answer };
  } catch (error) {
    const status = error?.httpMeta?.response?.status;
    said[name] = { error: typeof error === "string" ? error : error.name, status };
  }
}

for (const [name, input] of Object.entries(inputs)) {
  await ask(`rule ${name}`, () => opa.evaluate("role_based_access/allow", input));
  await ask(`package ${name}`, () => opa.evaluate("role_based_access", input));
  await ask(`default ${name}`, () => opa.evaluateDefault(input));
}
class Person {
  constructor(user) { this.user = user; }
  toInput() { return { user: this.user, action: "read", type: "dog" }; }
}
await ask("input of a class", () => opa.evaluate("role_based_access/allow", new Person("alice")));
await ask("result of a function", () =>
  opa.evaluate("role_based_access", inputs.admin, { fromResult: (result) => result.allow ? "yes" : "no" }));
await ask("data", () => opa.evaluate("user_roles/bob"));
await ask("data by index", () => opa.evaluate("role_grants/customer/1/action"));
await ask("data with an input", () => opa.evaluate("user_roles", inputs.admin));
await ask("nothing there", () => opa.evaluate("nosuch/thing", inputs.admin));
await ask("batch", () => opa.evaluateBatch("role_based_access/allow", inputs, { fallback: true }));
await ask("batch of a package", () => opa.evaluateBatch("role_based_access", inputs, { fallback: true }));
await ask("batch of nothing", () => opa.evaluateBatch("nosuch/thing", inputs, { fallback: true }));
await ask("batch that must not be mixed", () =>
  opa.evaluateBatch("role_based_access/allow", inputs, { fallback: true, rejectMixed: true }));
await ask("health", async () => (await api.health()).healthyServer ?? {});
await ask("health with bundles", async () => (await api.health(true, true)).healthyServer ?? {});
await ask("metrics", async () => {
  const { successfulPolicyResponse: found } = await api.executePolicyWithInput({
    path: "role_based_access/allow", metrics: true, pretty: true, requestBody: { input: inputs.admin },
  });
  return { result: found.result, has: found.metrics.timer_server_handler_ns > 0 };
});
console.log(JSON.stringify(said));
