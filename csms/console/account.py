"""Login, and a person's own account."""

from csms.api.http.pipeline import Answer
from csms.api.http.problems import ApiError
from csms.console.visit import ROOT, Visit, action, local, page, with_session
from csms.services.security.users import Throttled, new_factor
from v2g.errors import RefusedError

_ACCOUNT = f"{ROOT}/account"


@page("/login", public=True)
async def login(visit: Visit) -> Answer:
    """Ask for name, password and code."""
    following = visit.asked("next").get("next", ROOT)
    return visit.show("login.html", next=local(following), name="", problem="", hint="")


@action("/login", public=True)
async def log_in(visit: Visit) -> Answer:
    """Begin a session. Former ones in this browser end: no cookie from before the login has its rights."""
    name, following = visit.form.get("name", ""), local(visit.form.get("next", ROOT))
    try:
        cookie = await visit.users.log_in(name, visit.form.get("password", ""), visit.form.get("code", ""), visit.peer)
    except RefusedError as error:
        status = 429 if isinstance(error, Throttled) else 401
        shown = visit.show("login.html", status, next=following, name=name[:64], problem=str(error), hint=error.hint)
        if isinstance(error, Throttled):
            shown.headers["Retry-After"] = str(error.wait_s)
        return shown
    if visit.session is not None:
        await visit.users.log_out(visit.session)
    return with_session(visit.see(following), cookie)


@action("/logout", initial=True)
async def log_out(visit: Visit) -> Answer:
    """End the session."""
    await visit.users.log_out(visit.person)
    return with_session(visit.see(f"{ROOT}/login", "You have logged out."), "")


@page("/account", initial=True)
async def own_account(visit: Visit) -> Answer:
    """Show one's own account."""
    secret, uri = new_factor(visit.person.name, "v2g-engine")
    return visit.show("account.html", secret=secret, uri=uri)


@action("/account/password", initial=True)
async def change_password(visit: Visit) -> Answer:
    """Change the password; other sessions end."""
    visit.back = _ACCOUNT
    old, new = visit.form.get("old", ""), visit.form.get("new", "")
    if new != visit.form.get("again", ""):
        raise ApiError(400, "the new passwords differ", "type the same one twice")
    cookie = await visit.users.change_password(visit.person, old, new)
    return with_session(visit.see(ROOT, "Your password has changed."), cookie)


@action("/account/factor")
async def set_factor(visit: Visit) -> Answer:
    """Use a second factor from now on; other sessions end."""
    visit.back = _ACCOUNT
    form = visit.form
    cookie = await visit.users.set_factor(
        visit.person, form.get("password", ""), form.get("secret", ""), form.get("code", "")
    )
    return with_session(visit.see(_ACCOUNT, "From now on the login asks for a code."), cookie)


@action("/account/factor/remove")
async def remove_factor(visit: Visit) -> Answer:
    """Use no second factor any more; other sessions end."""
    visit.back = _ACCOUNT
    cookie = await visit.users.remove_factor(visit.person, visit.form.get("password", ""), visit.form.get("code", ""))
    return with_session(visit.see(_ACCOUNT, "The login asks for no code any more."), cookie)


ROUTES = (login, log_in, log_out, own_account, change_password, set_factor, remove_factor)
