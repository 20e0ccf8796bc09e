################################################################################
#
# v2g-engine: made by `python -m deploy.embedded` from pyproject.toml
#
################################################################################

V2G_ENGINE_VERSION = 0.2.0
V2G_ENGINE_SOURCE = v2g_engine-$(V2G_ENGINE_VERSION).tar.gz
# The sdist of `make release`, beside this file.
V2G_ENGINE_SITE = $(V2G_ENGINE_PKGDIR)
V2G_ENGINE_SITE_METHOD = file
V2G_ENGINE_SETUP_TYPE = hatch
V2G_ENGINE_LICENSE = Apache-2.0
V2G_ENGINE_LICENSE_FILES = LICENSE

define V2G_ENGINE_USERS
	v2g-secc -1 v2g-secc -1 * /var/lib/v2g-engine/secc - - v2g-engine
	v2g-csms -1 v2g-csms -1 * /var/lib/v2g-engine/csms - - v2g-engine
	v2g-telemetry -1 v2g-telemetry -1 * /var/lib/v2g-engine/telemetry - - v2g-engine
endef

define V2G_ENGINE_INSTALL_INIT_SYSTEMD
	$(INSTALL) -D -m 0644 $(@D)/deploy/systemd/v2g-csms.service \
		$(TARGET_DIR)/usr/lib/systemd/system/v2g-csms.service
	$(INSTALL) -D -m 0644 $(@D)/deploy/systemd/v2g-secc.service \
		$(TARGET_DIR)/usr/lib/systemd/system/v2g-secc.service
	$(INSTALL) -D -m 0644 $(@D)/deploy/systemd/v2g-telemetry.service \
		$(TARGET_DIR)/usr/lib/systemd/system/v2g-telemetry.service
	mkdir -p $(TARGET_DIR)/usr/lib/systemd/system/v2g-.service.d
	$(INSTALL) -m 0644 $(@D)/deploy/systemd/v2g-.service.d/* \
		$(TARGET_DIR)/usr/lib/systemd/system/v2g-.service.d
	$(INSTALL) -D -m 0644 $(@D)/deploy/tmpfiles.conf \
		$(TARGET_DIR)/usr/lib/tmpfiles.d/v2g-engine.conf
endef

$(eval $(python-package))
