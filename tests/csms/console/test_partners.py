"""The page of roaming partners."""

import json
from typing import Any

import pytest

from csms.accounts.rules import Role
from csms.config import RoamingConfig
from csms.roaming import store as rows
from csms.roaming.rules import Partner
from csms.roaming.store import Kept
from tests.csms.console.support import console, employ, text_of
from tests.csms.roaming.scripted_partner import ROLE, ScriptedPartner

pytestmark = pytest.mark.requirement("R202")


async def test_a_partner_is_added_registered_and_its_disputes_are_decided(backend: Any) -> None:
    config = RoamingConfig(
        url="https://cpo.test", country_code="DE", party_id="CPO", name="The Operator", allow=("127.0.0.1",)
    )
    async with backend(roaming=config) as csms, console(csms) as ask:
        ada = await employ(ask, "ada", Role.ADMIN)
        assert "No partner yet." in text_of(await ada.get("/console/partners"))
        invited = await ada.send("/console/partners", {"partner_id": "invited"})
        assert "https://cpo.test/ocpi/versions" in text_of(invited)
        left = Partner(partner_id="left", state="unregistered", versions_url="https://left.test/versions")
        await csms.services.store.run(rows.put_partner, left)
        assert "remove it, and add it again" in text_of(await ada.get("/console/partners"))
        with ScriptedPartner().running() as partner:
            partner.offers()
            said = {"token": "c", "url": f"{partner.url}/versions", "roles": [ROLE]}
            partner.answers["/credentials"] = 200, said
            added = {"partner_id": "tnm", "versions_url": f"{partner.url}/versions", "token": "a"}
            await ada.send("/console/partners", added)
            page = text_of(await ada.get("/console/partners"))
            assert "1/3: the partner registers with its token" in page
            assert "1/3: register there" in page
            await ada.send("/console/partners/tnm/register")
            page = text_of(await ada.get("/console/partners"))
            assert "2/3: wait for its first request" in page
            assert "NL*TNM EMSP" in page
            await ada.send("/console/partners/tnm/pull")
        document = json.dumps({"total_cost": {"before_taxes": 5}, "currency": "EUR"})
        cdr = Kept(owner="tnm", module="cdrs", object_id="nl*tnm*1", updated_ms=1, document=document, state="disputed",
                   detail="price: too much")  # fmt: skip
        await csms.services.store.run(rows.put_object, cdr)
        assert "nl*tnm*1 5 EUR: price: too much" in text_of(await ada.get("/console/partners"))
        await ada.send("/console/partners/tnm/cdrs/nl*tnm*1", {"decision": "rejected", "note": "credited"})
        (kept,) = (await ask("GET", "/roaming/cdrs")).json
        assert (kept["state"], kept["detail"]) == ("rejected", "price: too much; ada: credited")
