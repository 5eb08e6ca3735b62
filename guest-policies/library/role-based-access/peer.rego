# The same policy for Open Policy Agent, for comparisons: `opa run --server peer.rego data.json`, then
# POST /v1/data/rbac/allow with {"input": {"user": …, "action": …, "type": …}}.
package rbac

default allow := false

allow if "admin" in data.user_roles[input.user]

allow if {
	some role in data.user_roles[input.user]
	some grant in data.role_grants[role]
	grant.action == input.action
	grant.type == input.type
}
