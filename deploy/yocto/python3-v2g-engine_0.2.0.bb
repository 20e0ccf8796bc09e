# Made by `python -m deploy.embedded` from pyproject.toml.
SUMMARY = "An open V2G charging controller: ISO 15118-20 charger and vehicle, OCPP 2.0.1/2.1 station and back end"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://LICENSE;md5=3b83ef96387f14655fc854ddc3c6bd57"

# The sdist of `make release`, beside this file. From releases after 5.0 on: S = "${UNPACKDIR}/v2g_engine-${PV}"
SRC_URI = "file://v2g_engine-${PV}.tar.gz"
S = "${WORKDIR}/v2g_engine-${PV}"

inherit python_hatchling systemd useradd

USERADD_PACKAGES = "${PN}"
USERADD_PARAM:${PN} = "\
    --system --user-group --home-dir /var/lib/v2g-engine/secc --shell /sbin/nologin v2g-secc; \
    --system --user-group --home-dir /var/lib/v2g-engine/csms --shell /sbin/nologin v2g-csms; \
    --system --user-group --home-dir /var/lib/v2g-engine/telemetry --shell /sbin/nologin v2g-telemetry; \
"

SYSTEMD_SERVICE:${PN} = "\
    v2g-csms.service \
    v2g-secc.service \
    v2g-telemetry.service \
"
SYSTEMD_AUTO_ENABLE = "disable"

do_install:append() {
    install -d ${D}${systemd_system_unitdir}/v2g-.service.d ${D}${nonarch_libdir}/tmpfiles.d
    install -m 0644 ${S}/deploy/systemd/*.service ${D}${systemd_system_unitdir}
    install -m 0644 ${S}/deploy/systemd/v2g-.service.d/* ${D}${systemd_system_unitdir}/v2g-.service.d
    install -m 0644 ${S}/deploy/tmpfiles.conf ${D}${nonarch_libdir}/tmpfiles.d/v2g-engine.conf
}

FILES:${PN} += "${systemd_system_unitdir} ${nonarch_libdir}/tmpfiles.d ${datadir}/v2g"

RDEPENDS:${PN} = "\
    python3-modules \
    python3-cffi \
    python3-cryptography \
    python3-msgspec \
    python3-paho-mqtt \
    python3-prometheus-client \
    python3-pyopenssl \
    python3-pymodbus \
    python3-pyserial \
    python3-pyyaml \
    python3-rich \
    python3-shamir-mnemonic \
    python3-typer \
    python3-websockets \
"

PACKAGECONFIG ??= ""
PACKAGECONFIG[gateway] = ",,,python3-can-isotp python3-cantools python3-msgpack python3-can"
PACKAGECONFIG[csms] = ",,,python3-argon2-cffi python3-jinja2 python3-litestar python3-pyotp python3-segno python3-sqlalchemy python3-uvicorn python3-uvloop"
PACKAGECONFIG[planning] = ",,,python3-numpy python3-scipy"
