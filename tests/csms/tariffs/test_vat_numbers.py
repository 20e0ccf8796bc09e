"""VAT numbers have their country's form."""

from csms.tariffs.vat_numbers import vat_number_fits
from tests.together import together

NUMBERS = [
    "ATU12345678", "BE0123456789", "BE1123456789", "BG123456789", "BG1234567890", "CHE123456789",
    "CHE123456789MWST", "CHE123456789IVA", "CY12345678L", "CZ12345678", "CZ1234567890", "DE123456789", "DK12345678",
    "EE123456789", "EL123456789", "ESX1234567X", "ES12345678Z", "FI12345678", "FR83123456789", "FRK7123456789",
    "GB123456789", "GB123456789012", "GBGD001", "GBHA599", "HR12345678901", "HU12345678", "IE1234567WI", "IE1S23456L",
    "IE1234567W",
    "IT12345678901", "LT123456789", "LT123456789012", "LU12345678", "LV12345678901", "MT12345678", "NL123456789B01",
    "NO123456789", "NO123456789MVA", "PL1234567890", "PT123456789", "RO12", "RO1234567890", "SE123456789001",
    "SI12345678", "SK1234567890", "XI123456789", "XI123456789012", "XIGD001", "XIHA599",
]  # fmt: skip


@together("number", NUMBERS)
def test_a_number_has_its_country_s_form(number: str) -> None:
    assert vat_number_fits(number)
    assert vat_number_fits(f" {number[:2].lower()}-{number[2:5]}.{number[5:]}")
    assert not vat_number_fits(number + "000000000"), "too long"
    assert not vat_number_fits(number[:-9]), "too short"
    assert not vat_number_fits(number + "?")


@together(
    "number",
    ["", "DE", "DE12345678", "US123456789", "BE2123456789", "AT12345678", "NL123456789A01", "SE123456789002",
     "SE12345678900", "CY12345678", "ESX1234567", "DE12345678\N{ARABIC-INDIC DIGIT NINE}", "IE1?23456L",
     "CHE123456789GMBH", "GBGD12", "GBGH123", "GBHA1234", "XIGD123456789", "GD001"],
)  # fmt: skip
def test_what_has_no_country_s_form_does_not_fit(number: str) -> None:
    assert not vat_number_fits(number)
