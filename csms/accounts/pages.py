"""Login, and a person's own account."""

from typing import Final, Literal
from zoneinfo import available_timezones

from litestar import Response
from litestar.datastructures import Cookie

from csms.accounts import api as access
from csms.accounts.openid import LOGIN_MS
from csms.accounts.passkeys import CEREMONY_MS
from csms.accounts.rules import NO_PEOPLE, Role
from csms.accounts.work import Proof, Throttled, new_factor
from csms.console.bulk import Field, Question, Said, ask
from csms.console.listing import Act, Column, Listing, show_list, show_pages
from csms.console.visit import ROOT, ZONE_COOKIE, Visit, action, cookie_of, local, page, segment, with_session
from csms.http.call import encode
from csms.http.pipeline import Answer
from csms.http.problems import ApiError
from v2g.errors import RefusedError
from v2g.typed_json import Fields

_PENDING = "__Host-v2g-login"
"""Cookie of a login at a provider; not strict, as the provider's page leads back here."""

_CEREMONY = "__Host-v2g-passkey"
"""Cookie of a ceremony with a passkey."""

_PROOF = "__Host-v2g-proof"
"""That of a proof by one, which another ceremony may follow."""

_ACCOUNT = f"{ROOT}/account"


def _label(visit: Visit) -> str | None:
    """Return the name of the OpenID provider by which people log in, too."""
    openid = visit.services.config.api.openid
    return None if openid is None else openid.label


@page("/login", public=True)
async def login(visit: Visit) -> Answer:
    """Ask for name, password and code."""
    following = visit.asked("next").get("next", ROOT)
    return visit.show("login.html", provider=_label(visit), next=local(following), name="", problem="", hint="")


@action("/login", public=True)
async def log_in(visit: Visit) -> Answer:
    """Begin a session. Former ones in this browser end: no cookie from before the login has its rights."""
    name, following = visit.form.get("name", ""), local(visit.form.get("next", ROOT))
    try:
        cookie = await visit.users.log_in(name, visit.form.get("password", ""), visit.form.get("code", ""), visit.peer)
    except RefusedError as error:
        return _refused(visit, error, following, name[:64])
    if visit.session is not None:
        await visit.users.log_out(visit.session)
    return with_session(visit.see(following), cookie)


def _refused(visit: Visit, error: RefusedError, following: str = ROOT, name: str = "") -> Answer:
    """Ask again, and say what was wrong."""
    status, problem = 429 if isinstance(error, Throttled) else 401, str(error)
    shown = visit.show(
        "login.html", status, provider=_label(visit), next=following, name=name, problem=problem, hint=error.hint
    )
    if isinstance(error, Throttled):
        shown.headers["Retry-After"] = str(error.wait_s)
    return shown


@page("/login/provider", public=True)
async def begin_at_provider(visit: Visit) -> Answer:
    """Send the browser to the OpenID provider."""
    provider = visit.users.provider
    if provider is None:
        raise ApiError(404, "people log in with a password here")
    following = local(visit.asked("next").get("next", ROOT))
    try:
        where, cookie = await provider.begin(following)
    except RefusedError as error:
        return _refused(visit, error, following)
    answer = visit.see(where)
    answer.cookies.append(_cookie(_PENDING, cookie, LOGIN_MS, "lax"))
    return answer


@page("/login/provider/back", public=True)
async def come_back(visit: Visit) -> Answer:
    """Begin the session of a person whom the provider has identified.

    The page that answers opens the next one: a redirection would still count as coming from the provider, and be
    without the session's cookie.
    """
    answer = {name: str(value) for name, value in visit.request.query_params.items()}
    if visit.users.provider is None:
        raise ApiError(404, "people log in with a password here")
    try:
        cookie, following = await visit.users.log_in_by_provider(
            visit.request.cookies.get(_PENDING, ""), answer, visit.peer
        )
    except RefusedError as error:
        return _refused(visit, error)
    if visit.session is not None:
        await visit.users.log_out(visit.session)
    shown = with_session(visit.show("continue.html", next=local(following)), cookie)
    shown.cookies.append(_cookie(_PENDING, "", 0, "lax"))
    return shown


@action("/login/passkey/options", public=True)
async def ask_for_passkey(visit: Visit) -> Answer:
    """Return what the browser asks an authenticator at the login."""
    return _asked(_CEREMONY, *visit.users.passkeys.begin_signing("", ()))


@action("/login/passkey", public=True)
async def log_in_by_passkey(visit: Visit) -> Answer:
    """Begin a session by a passkey."""
    form = visit.form
    visit.back = f"{ROOT}/login"
    cookie = await visit.users.log_in_by_passkey(
        visit.request.cookies.get(_CEREMONY, ""), form.get("credential", ""), visit.peer
    )
    if visit.session is not None:
        await visit.users.log_out(visit.session)
    answer = with_session(visit.see(local(form.get("next", ROOT))), cookie)
    answer.cookies.append(_cookie(_CEREMONY, "", 0, "strict"))
    return answer


@action("/account/passkeys/options")
async def ask_for_new_passkey(visit: Visit) -> Answer:
    """Return what the browser asks an authenticator for a new passkey."""
    return _asked(_CEREMONY, *await visit.users.begin_passkey(visit.person))


@action("/account/proof/options")
async def ask_for_proof(visit: Visit) -> Answer:
    """Return what the browser asks an authenticator to prove who changes a credential."""
    return _asked(_PROOF, *await visit.users.begin_proof(visit.person))


@action("/account/passkeys")
async def add_passkey(visit: Visit) -> Answer:
    """Add a passkey; other sessions end."""
    visit.back, form, made = _ACCOUNT, visit.form, visit.request.cookies.get(_CEREMONY, "")
    cookie = await visit.users.add_passkey(
        visit.person, _proof(visit), form.get("label", ""), made, form.get("credential", "")
    )
    await visit.note("add_passkey")
    answer = with_session(visit.see(_ACCOUNT, "From now on you can log in by this passkey."), cookie)
    answer.cookies.append(_cookie(_CEREMONY, "", 0, "strict"))
    return answer


@action("/account/passkeys/{credential_id}/remove")
async def remove_passkey(visit: Visit) -> Answer:
    """Remove a passkey; other sessions end."""
    visit.back = _ACCOUNT
    cookie = await visit.users.remove_passkey(visit.person, _proof(visit), visit.path["credential_id"])
    await visit.note("remove_passkey")
    return with_session(visit.see(_ACCOUNT, "The passkey is removed."), cookie)


def _asked(kind: str, options: str, cookie: str) -> Answer:
    answer: Answer = Response(options.encode(), media_type="application/json")
    answer.cookies.append(_cookie(kind, cookie, CEREMONY_MS, "strict"))
    return answer


def _proof(visit: Visit) -> Proof:
    """Return what a form shows of who changes a credential."""
    password, code, signed = (visit.form.get(name, "") for name in ("password", "code", "proof"))
    return Proof(password, code, signed, visit.request.cookies.get(_PROOF, ""))


def _cookie(name: str, value: str, lasts_ms: int, site: Literal["lax", "strict"]) -> Cookie:
    age_s = lasts_ms // 1000
    return Cookie(name, value=value, max_age=age_s, path="/", secure=True, httponly=True, samesite=site)


@action("/logout", initial=True)
async def log_out(visit: Visit) -> Answer:
    """End the session."""
    await visit.users.log_out(visit.person)
    return with_session(visit.see(f"{ROOT}/login", "You have logged out."), "")


@action("/zone")
async def choose_zone(visit: Visit) -> Answer:
    """Show times of all pages in another zone: "" the site's, else by its name."""
    wanted = visit.form.get("zone", "")
    if wanted and wanted not in available_timezones():
        raise ApiError(400, "there is no such time zone", "such as Europe/Berlin")
    answer = visit.see(local(visit.form.get("next", ROOT)))
    answer.cookies.append(cookie_of(ZONE_COOKIE, wanted, 31_536_000 if wanted else 0))
    return answer


@page("/account", initial=True)
async def own_account(visit: Visit) -> Answer:
    """Show one's own account."""
    secret, uri = new_factor(visit.person.name, "v2g-engine")
    passkeys = await visit.users.passkeys_of(visit.person.name)
    return visit.show("account.html", secret=secret, uri=uri, passkeys=passkeys)


@action("/account/password", initial=True)
async def change_password(visit: Visit) -> Answer:
    """Change the password; other sessions end."""
    visit.back = _ACCOUNT
    new = visit.form.get("new", "")
    if new != visit.form.get("again", ""):
        raise ApiError(400, "the new passwords differ", "type the same one twice")
    cookie = await visit.users.change_password(visit.person, _proof(visit), new)
    await visit.note("change_password")
    return with_session(visit.see(ROOT, "Your password has changed."), cookie)


@action("/account/factor")
async def set_factor(visit: Visit) -> Answer:
    """Use a second factor from now on; other sessions end."""
    visit.back = _ACCOUNT
    form = visit.form
    cookie = await visit.users.set_factor(visit.person, _proof(visit), form.get("secret", ""), form.get("code", ""))
    await visit.note("set_factor")
    return with_session(visit.see(_ACCOUNT, "From now on the login asks for a code."), cookie)


@action("/account/factor/remove")
async def remove_factor(visit: Visit) -> Answer:
    """Use no second factor any more; other sessions end."""
    visit.back = _ACCOUNT
    cookie = await visit.users.remove_factor(visit.person, _proof(visit))
    await visit.note("remove_factor")
    return with_session(visit.see(_ACCOUNT, "The login asks for no code any more."), cookie)


_USERS = f"{ROOT}/users"
_ROLES = tuple(each.value for each in Role if each not in NO_PEOPLE)


USERS: Final = (
    Column("name", "Name", lambda row: row["name"]),
    Column("role", "Role", lambda row: row["role"]),
    Column("sites", "Sites", lambda row: ", ".join(row["sites"] or []) or None),
    Column("factor", "Second factor", lambda row: "yes" if row["second_factor"] else "no", "state"),
    Column("login", "Last login", lambda row: row["login_ms"], "time"),
    Column("added", "Added", lambda row: row["created_ms"], "time", phone=False),
    Column("by", "Added by", lambda row: row["created_by"], phone=False),
    Column("password", "Password", lambda row: "issued" if row["initial"] else "own", "state", phone=False),
)
AUDIT: Final = (
    Column("at", "When", lambda row: row["at_ms"], "time"),
    Column("who", "Who", lambda row: row["caller"]),
    Column("what", "What", lambda row: row["operation"]),
    Column("where", "Where", lambda row: row["path"]),
    Column("status", "Status", lambda row: row["status"], "number"),
    Column("role", "Role", lambda row: row["role"], phone=False),
    Column("peer", "From", lambda row: row["peer"], phone=False),
    Column("request", "With", lambda row: row["request"] and encode(row["request"]).decode(), "id", phone=False),
)


@page("/users", access.list_users)
async def list_users(visit: Visit) -> Answer:
    """List who may log in."""
    return await _users(visit)


async def _users(visit: Visit, issued: dict[str, object] | None = None) -> Answer:
    rows = [each async for each in visit.every(access.list_users)]

    def acts(row: Fields) -> list[Act]:
        if row["name"] == visit.person.name:
            return []
        here, name = f"/users/{segment(row['name'])}", row["name"]
        question = "Issue a new password for {about}? Sessions end, and the second factor is removed."
        return [
            Act(f"{here}/role", "Role …"),
            Act(f"{here}/reset", "New password", {}, question, "", name),
            Act(f"{here}/remove", "Remove", {}, "Remove {about}?", "danger", name),
        ]

    shown = Listing(title="Users", columns=USERS, rows=rows, tab="role", acts=acts)
    return await show_list(visit, shown, template="users.html", roles=_ROLES, issued=issued)


@action("/users", access.add_user)
async def add_user(visit: Visit) -> Answer:
    """Let a person log in; show the issued password once."""
    visit.back = _USERS
    name = visit.form.get("name", "").strip().lower()
    made = await visit.ask(access.add_user, {"name": name, **_role(visit)})
    return await _users(visit, made)


def _role(visit: Visit) -> dict[str, object]:
    """Return the role of a form, and the only sites that it is for."""
    sites = [each.strip() for each in visit.form.get("sites", "").split(",") if each.strip()]
    return {"role": visit.form.get("role", ""), "sites": sites or None}


@action("/users/{name}/reset", access.reset_user)
async def reset_user(visit: Visit) -> Answer:
    """Issue another password."""
    visit.back = _USERS
    return await _users(visit, await visit.ask(access.reset_user, name=visit.path["name"]))


@action("/users/{name}/role", access.set_user_role)
async def set_role(visit: Visit) -> Answer:
    """Give a person another role."""
    visit.back = _USERS
    name = visit.path["name"]
    if "role" not in visit.form:
        found = await visit.ask(access.read_user, name=name)
        visit.form = {"role": found["role"], "sites": ", ".join(found["sites"] or [])}
        fields = [
            Field("role", "Role", {each: each for each in _ROLES}, required=True),
            Field("sites", "Only at sites; empty is all"),
        ]
        effects = [Said("It holds from the next request on.")]
        question = Question(
            text="Which role has {name}?", values={"name": name}, effects=effects, button="Set", fields=fields
        )
        return ask(visit, question, _USERS, 1, [])
    body = _role(visit)
    await visit.ask(access.set_user_role, body, name=name)
    sites = visit.form.get("sites", "").strip()
    return visit.see(
        _USERS,
        "{name} is now {role} of {sites}." if sites else "{name} is now {role} of all sites.",
        name=name,
        role=body["role"],
        sites=sites,
    )


@action("/users/{name}/remove", access.remove_user)
async def remove_user(visit: Visit) -> Answer:
    """Remove a person."""
    visit.back = _USERS
    await visit.ask(access.remove_user, name=visit.path["name"])
    return visit.see(_USERS, "{name} is removed.", name=visit.path["name"])


@page("/audit", access.list_audit)
async def show_audit(visit: Visit) -> Answer:
    """Show who changed what."""
    asked = visit.asked("caller", "operation")
    filters = {"caller": ("Who", None), "operation": ("What", None)}
    shown = Listing(
        title="Audit log",
        columns=AUDIT,
        asked=asked,
        filters=filters,
        search=False,
        key=lambda row: str(row["id"]),
        empty="No entry fits.",
    )
    return await show_pages(visit, shown, access.list_audit, asked)
