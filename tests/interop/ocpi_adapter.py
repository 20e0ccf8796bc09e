"""What py-ocpi makes of stored objects: its own models."""

from py_ocpi.core.adapter import Adapter
from py_ocpi.modules.cdrs.v_2_2_1.schemas import Cdr
from py_ocpi.modules.credentials.v_2_2_1.schemas import Credentials
from py_ocpi.modules.locations.v_2_2_1.schemas import Location
from py_ocpi.modules.sessions.v_2_2_1.schemas import Session
from py_ocpi.modules.tariffs.v_2_2_1.schemas import Tariff
from py_ocpi.modules.tokens.v_2_2_1.schemas import AuthorizationInfo, Token

MODELS = {"location": Location, "session": Session, "credentials": Credentials, "cdr": Cdr, "tariff": Tariff,
          "token": Token, "authorization": AuthorizationInfo}  # fmt: skip


class ObjectAdapter(Adapter):
    """See above."""


for _name, _model in MODELS.items():
    setattr(ObjectAdapter, f"{_name}_adapter", staticmethod(lambda data, *_, model=_model: model(**data)))
