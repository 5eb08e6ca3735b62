# Allows if the role is `admin`, or the user owns the resource, or the action is `read`.
package policy

import rego.v1

# Undefined without an action.
decision := reason if is_string(input.action)

default name := "nobody"

name := input.user

owns if input.user == input.owner

reason := {"allowed": true, "code": "admin", "message": concat("", [name, " is an administrator"]), "on": ["/user/role"]} if {
	input.role == "admin"
} else := {"allowed": true, "code": "owner", "message": concat("", [name, " owns the resource"]), "on": ["/user/name", "/resource/owner"]} if {
	owns
} else := {"allowed": true, "code": "read", "message": "everyone may read", "on": ["/action"]} if {
	input.action == "read"
} else := {"allowed": false, "code": "no-rule", "message": concat("", [input.action, " is for the owner"]), "on": ["/user/name", "/resource/owner", "/action"]}
