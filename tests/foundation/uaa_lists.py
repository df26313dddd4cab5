"""What a UAA tells of its users and clients: paged by startIndex and count, narrowed by `attributes`.

Shared by the director's UAA and TAS'. Mixed into a UAA that has `accepts`.
"""

from web import Answer

MOST = 500  # of one page, whatever `count` says


class Lists:
    def listed(self, request, kind):
        """`kind`: users or clients; `rows(kind, start, count)` gives them and how many there are."""
        if not self.accepts(request.headers.get("Authorization")):
            return Answer.json({"error": "invalid_token", "error_description": "The token expired, was revoked, or "
                                "the token ID is incorrect."}, 401)
        request.entry["authorized"] = True
        if kind in self.forbidden or not self.may_list(request.headers.get("Authorization")):
            return Answer.json({"error": "insufficient_scope", "error_description": "Insufficient scope for this "
                                "resource", "scope": "uaa.admin clients.read scim.read"}, 403)
        try:
            start = max(1, int(request.query.get("startIndex", 1)))
            count = min(MOST, max(1, int(request.query.get("count", 100))))
        except ValueError:
            return Answer.json({"error": "scim", "message": "Error parsing startIndex or count"}, 400)
        rows, total = self.rows(kind, start - 1, count)
        wanted = request.query.get("attributes")
        if wanted and kind == "users":
            names = set(wanted.split(","))
            rows = [{name: value for name, value in row.items() if name in names} for row in rows]
        return Answer.json({"resources": rows, "startIndex": start, "itemsPerPage": count, "totalResults": total,
                            "schemas": ["http://cloudfoundry.org/schema/scim/oauth-clients-1.0"]})

    forbidden = ()

    def may_list(self, header):
        return True


def user(guid, name, origin="uaa"):
    """As /Users shows one: names, mails, groups."""
    return {"id": guid, "userName": name, "origin": origin, "active": True, "verified": True,
            "name": {"familyName": name, "givenName": "Planted"}, "zoneId": "uaa", "externalId": "",
            "emails": [{"value": f"{name}@mail.example.com", "primary": True}],
            "groups": [{"value": guid, "display": "cloud_controller.read", "type": "DIRECT"}]}
