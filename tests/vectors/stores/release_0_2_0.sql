-- The tables of release 0.2.0; what stands in braces depends on the database.
CREATE TABLE accounting_periods (period VARCHAR(7) NOT NULL, closed_ms BIGINT NOT NULL, postings BIGINT NOT NULL,
    digest VARCHAR(128) NOT NULL, seal TEXT, CONSTRAINT pk_accounting_periods PRIMARY KEY (period));
CREATE TABLE admissions (station_id VARCHAR(48) NOT NULL, boot VARCHAR(16) DEFAULT '' NOT NULL, decided_ms BIGINT,
    decided_by VARCHAR(64) DEFAULT '' NOT NULL, first_seen_ms BIGINT, last_seen_ms BIGINT, attempts BIGINT DEFAULT '0'
    NOT NULL, address VARCHAR(64) DEFAULT '' NOT NULL, offered VARCHAR(255) DEFAULT '' NOT NULL, security_profile
    INTEGER DEFAULT '0' NOT NULL, least_profile INTEGER DEFAULT '0' NOT NULL, password TEXT DEFAULT '' NOT NULL,
    next_password TEXT DEFAULT '' NOT NULL, password_ms BIGINT, expired_until_ms BIGINT, verified TEXT DEFAULT '' NOT
    NULL, CONSTRAINT pk_admissions PRIMARY KEY (station_id));
CREATE TABLE api_tokens (token_id VARCHAR(32) NOT NULL, name VARCHAR(128) NOT NULL, role VARCHAR(32) NOT NULL, scopes
    TEXT, evs TEXT NOT NULL, sha256 VARCHAR(64) NOT NULL, created_ms BIGINT NOT NULL, created_by VARCHAR(128) NOT
    NULL, expires_ms BIGINT, revoked_ms BIGINT, CONSTRAINT pk_api_tokens PRIMARY KEY (token_id), CONSTRAINT
    uq_api_tokens_sha256 UNIQUE (sha256));
CREATE TABLE audit (id {ID} NOT NULL, at_ms BIGINT NOT NULL, caller VARCHAR(128) NOT NULL, role VARCHAR(32) NOT NULL,
    peer VARCHAR(64) NOT NULL, operation VARCHAR(64) NOT NULL, path VARCHAR(500) NOT NULL, status INTEGER NOT NULL,
    request TEXT, "before" TEXT, "after" TEXT, CONSTRAINT pk_audit PRIMARY KEY (id));
CREATE INDEX ix_audit_caller_id ON audit (caller, id);
CREATE TABLE availability_orders (order_id {ID} NOT NULL, station_id VARCHAR(48) NOT NULL, evse_id INTEGER NOT NULL,
    connector_id INTEGER NOT NULL, wanted VARCHAR(16) NOT NULL, state VARCHAR(16) NOT NULL, not_before_ms BIGINT NOT
    NULL, updated_ms BIGINT NOT NULL, detail TEXT DEFAULT '' NOT NULL, CONSTRAINT pk_availability_orders PRIMARY KEY
    (order_id));
CREATE INDEX ix_availability_orders_station_id_state ON availability_orders (station_id, state);
CREATE TABLE battery_swaps (id {ID} NOT NULL, station_id VARCHAR(48) NOT NULL, request_id BIGINT NOT NULL, event
    VARCHAR(20) NOT NULL, token_type VARCHAR(20) NOT NULL, id_token VARCHAR(255) NOT NULL, received_ms BIGINT NOT
    NULL, document TEXT NOT NULL, CONSTRAINT pk_battery_swaps PRIMARY KEY (id));
CREATE INDEX ix_battery_swaps_station_id_request_id ON battery_swaps (station_id, request_id);
CREATE TABLE campaigns (campaign_id {ID} NOT NULL, name VARCHAR(100) NOT NULL, state VARCHAR(16) NOT NULL, reason TEXT
    DEFAULT '' NOT NULL, created_ms BIGINT NOT NULL, updated_ms BIGINT NOT NULL, document TEXT NOT NULL, CONSTRAINT
    pk_campaigns PRIMARY KEY (campaign_id));
CREATE INDEX ix_campaigns_state ON campaigns (state);
CREATE TABLE chargers (digest VARCHAR(64) NOT NULL, subject TEXT NOT NULL, station_id VARCHAR(48) NOT NULL, since_ms
    BIGINT NOT NULL, CONSTRAINT pk_chargers PRIMARY KEY (digest));
CREATE INDEX ix_chargers_station_id_since_ms ON chargers (station_id, since_ms);
CREATE TABLE charging_limits (station_id VARCHAR(48) NOT NULL, evse_id INTEGER NOT NULL, source VARCHAR(20) NOT NULL,
    at_ms BIGINT NOT NULL, document TEXT NOT NULL, CONSTRAINT pk_charging_limits PRIMARY KEY (station_id, evse_id,
    source));
CREATE TABLE charging_profiles (station_id VARCHAR(48) NOT NULL, profile_id BIGINT NOT NULL, evse_id INTEGER NOT NULL,
    purpose VARCHAR(40) NOT NULL, stack_level INTEGER NOT NULL, source VARCHAR(20) NOT NULL, transaction_id
    VARCHAR(36), updated_ms BIGINT NOT NULL, document TEXT NOT NULL, CONSTRAINT pk_charging_profiles PRIMARY KEY
    (station_id, profile_id));
CREATE TABLE data_transfers (id {ID} NOT NULL, station_id VARCHAR(48) NOT NULL, vendor_id VARCHAR(255) NOT NULL,
    message_id VARCHAR(50) NOT NULL, received_ms BIGINT NOT NULL, document TEXT NOT NULL, CONSTRAINT pk_data_transfers
    PRIMARY KEY (id));
CREATE INDEX ix_data_transfers_station_id_received_ms ON data_transfers (station_id, received_ms);
CREATE TABLE der_alarms (id {ID} NOT NULL, station_id VARCHAR(48) NOT NULL, control_type VARCHAR(32) NOT NULL, fault
    VARCHAR(24) NOT NULL, ended BOOLEAN NOT NULL, at_ms BIGINT NOT NULL, extra TEXT NOT NULL, CONSTRAINT pk_der_alarms
    PRIMARY KEY (id));
CREATE INDEX ix_der_alarms_station_id_at_ms ON der_alarms (station_id, at_ms);
CREATE TABLE der_controls (station_id VARCHAR(48) NOT NULL, control_id VARCHAR(36) NOT NULL, control_type VARCHAR(32)
    NOT NULL, is_default BOOLEAN NOT NULL, superseded BOOLEAN NOT NULL, started BOOLEAN NOT NULL, updated_ms BIGINT
    NOT NULL, document TEXT NOT NULL, CONSTRAINT pk_der_controls PRIMARY KEY (station_id, control_id));
CREATE TABLE device_events (id {ID} NOT NULL, station_id VARCHAR(48) NOT NULL, event_id BIGINT NOT NULL, at_ms BIGINT
    NOT NULL, received_ms BIGINT NOT NULL, "trigger" VARCHAR(16) NOT NULL, component VARCHAR(50) NOT NULL, variable
    VARCHAR(50) NOT NULL, monitor_id BIGINT, severity INTEGER, cleared BOOLEAN NOT NULL, document TEXT NOT NULL,
    CONSTRAINT pk_device_events PRIMARY KEY (id));
CREATE INDEX ix_device_events_station_id_at_ms ON device_events (station_id, at_ms);
CREATE TABLE device_variables (station_id VARCHAR(48) NOT NULL, component VARCHAR(50) NOT NULL, component_instance
    VARCHAR(50) NOT NULL, evse_id INTEGER NOT NULL, connector_id INTEGER NOT NULL, variable VARCHAR(50) NOT NULL,
    variable_instance VARCHAR(50) NOT NULL, attribute VARCHAR(6) NOT NULL, value TEXT, value_ms BIGINT, after_reboot
    TEXT, mutability VARCHAR(9) DEFAULT '' NOT NULL, constant BOOLEAN DEFAULT {FALSE} NOT NULL, persistent BOOLEAN
    DEFAULT {FALSE} NOT NULL, data_type VARCHAR(12) DEFAULT '' NOT NULL, unit VARCHAR(16) DEFAULT '' NOT NULL, min_limit
    FLOAT, max_limit FLOAT, values_list TEXT DEFAULT '' NOT NULL, supports_monitoring BOOLEAN DEFAULT {FALSE} NOT NULL,
    CONSTRAINT pk_device_variables PRIMARY KEY (station_id, component, component_instance, evse_id, connector_id,
    variable, variable_instance, attribute));
CREATE TABLE display_messages (station_id VARCHAR(48) NOT NULL, message_id BIGINT NOT NULL, state VARCHAR(16) NOT
    NULL, transaction_id VARCHAR(36), ends_ms BIGINT, updated_ms BIGINT NOT NULL, document TEXT NOT NULL, CONSTRAINT
    pk_display_messages PRIMARY KEY (station_id, message_id));
CREATE TABLE door_faults (id {ID} NOT NULL, station_id VARCHAR(48) NOT NULL, address VARCHAR(64) NOT NULL, kind
    VARCHAR(20) NOT NULL, detail VARCHAR(400) NOT NULL, hint VARCHAR(400) NOT NULL, first_ms BIGINT NOT NULL, last_ms
    BIGINT NOT NULL, times BIGINT NOT NULL, CONSTRAINT pk_door_faults PRIMARY KEY (id), CONSTRAINT
    uq_door_faults_station_id_address_kind UNIQUE (station_id, address, kind));
CREATE INDEX ix_door_faults_last_ms ON door_faults (last_ms);
CREATE TABLE dynamic_schedules (station_id VARCHAR(48) NOT NULL, profile_id BIGINT NOT NULL, updated_ms BIGINT NOT
    NULL, document TEXT NOT NULL, CONSTRAINT pk_dynamic_schedules PRIMARY KEY (station_id, profile_id));
CREATE TABLE ev_schedules (station_id VARCHAR(48) NOT NULL, evse_id INTEGER NOT NULL, at_ms BIGINT NOT NULL,
    within_limits BOOLEAN NOT NULL, document TEXT NOT NULL, CONSTRAINT pk_ev_schedules PRIMARY KEY (station_id,
    evse_id));
CREATE TABLE event_streams (station_id VARCHAR(48) NOT NULL, stream_id BIGINT NOT NULL, monitor_id BIGINT NOT NULL,
    interval_s INTEGER, batch INTEGER, opened_ms BIGINT NOT NULL, closed_ms BIGINT, CONSTRAINT pk_event_streams
    PRIMARY KEY (station_id, stream_id));
CREATE TABLE fleets (fleet_id VARCHAR(60) NOT NULL, updated_ms BIGINT NOT NULL, document TEXT NOT NULL, call TEXT,
    CONSTRAINT pk_fleets PRIMARY KEY (fleet_id));
CREATE TABLE grid_signals (version BIGINT NOT NULL, received_ms BIGINT NOT NULL, received_from VARCHAR(64) NOT NULL,
    document TEXT NOT NULL, tariff VARCHAR(64) DEFAULT '' NOT NULL, export_limit_w BIGINT DEFAULT '0' NOT NULL,
    CONSTRAINT pk_grid_signals PRIMARY KEY (version));
CREATE INDEX ix_grid_signals_tariff ON grid_signals (tariff);
CREATE TABLE grid_sources (source VARCHAR(64) NOT NULL, updated_ms BIGINT NOT NULL, document TEXT NOT NULL, CONSTRAINT
    pk_grid_sources PRIMARY KEY (source));
CREATE TABLE idempotency_keys (caller VARCHAR(128) NOT NULL, "key" VARCHAR(255) NOT NULL, fingerprint VARCHAR(64) NOT
    NULL, created_ms BIGINT NOT NULL, status INTEGER, headers TEXT, body {BLOB}, CONSTRAINT pk_idempotency_keys
    PRIMARY KEY (caller, "key"));
CREATE INDEX ix_idempotency_keys_created_ms ON idempotency_keys (created_ms);
CREATE TABLE journal_certificates (station_id VARCHAR(48) NOT NULL, session_id VARCHAR(64) NOT NULL, charger {BLOB}
    NOT NULL, contract {BLOB} NOT NULL, emaid VARCHAR(255) NOT NULL, charger_fault TEXT DEFAULT '' NOT NULL,
    CONSTRAINT pk_journal_certificates PRIMARY KEY (station_id, session_id));
CREATE TABLE journal_lines (station_id VARCHAR(48) NOT NULL, session_id VARCHAR(64) NOT NULL, sequence BIGINT NOT
    NULL, line {BLOB} NOT NULL, CONSTRAINT pk_journal_lines PRIMARY KEY (station_id, session_id, sequence));
CREATE TABLE journal_reviews (station_id VARCHAR(48) NOT NULL, session_id VARCHAR(64) NOT NULL, state VARCHAR(12) NOT
    NULL, transaction_id VARCHAR(36) NOT NULL, begin_ms BIGINT NOT NULL, end_ms BIGINT NOT NULL, reason VARCHAR(16)
    NOT NULL, detail TEXT NOT NULL, since_ms BIGINT NOT NULL, due_ms BIGINT NOT NULL, decided_ms BIGINT, decided_by
    VARCHAR(255) DEFAULT '' NOT NULL, note TEXT DEFAULT '' NOT NULL, CONSTRAINT pk_journal_reviews PRIMARY KEY
    (station_id, session_id));
CREATE INDEX ix_journal_reviews_state ON journal_reviews (state);
CREATE INDEX ix_journal_reviews_station_id_transaction_id ON journal_reviews (station_id, transaction_id);
CREATE TABLE journals (station_id VARCHAR(48) NOT NULL, session_id VARCHAR(64) NOT NULL, lines BIGINT NOT NULL, head
    VARCHAR(128) NOT NULL, ended BOOLEAN NOT NULL, updated_ms BIGINT NOT NULL, refused BIGINT DEFAULT '0' NOT NULL,
    receipt TEXT, CONSTRAINT pk_journals PRIMARY KEY (station_id, session_id));
CREATE TABLE leases (name VARCHAR(64) NOT NULL, node VARCHAR(128) NOT NULL, until_ms BIGINT NOT NULL, CONSTRAINT
    pk_leases PRIMARY KEY (name));
CREATE TABLE local_lists (station_id VARCHAR(48) NOT NULL, version INTEGER NOT NULL, status VARCHAR(20) NOT NULL,
    updated_ms BIGINT NOT NULL, entries TEXT NOT NULL, CONSTRAINT pk_local_lists PRIMARY KEY (station_id));
CREATE TABLE mandates (id {ID} NOT NULL, vehicle VARCHAR(255) NOT NULL, payer VARCHAR(255) NOT NULL, currency
    VARCHAR(3) NOT NULL, most_micro BIGINT NOT NULL, created_ms BIGINT NOT NULL, expires_ms BIGINT NOT NULL, state
    VARCHAR(16) NOT NULL, reference VARCHAR(255) NOT NULL, approval_url TEXT NOT NULL, reason TEXT NOT NULL,
    CONSTRAINT pk_mandates PRIMARY KEY (id));
CREATE INDEX ix_mandates_state ON mandates (state);
CREATE INDEX ix_mandates_vehicle ON mandates (vehicle);
CREATE TABLE meter_keys (station_id VARCHAR(48) NOT NULL, evse_id INTEGER NOT NULL, public_key TEXT NOT NULL, noted_ms
    BIGINT NOT NULL, CONSTRAINT pk_meter_keys PRIMARY KEY (station_id, evse_id));
CREATE TABLE monitors (station_id VARCHAR(48) NOT NULL, monitor_id BIGINT NOT NULL, component TEXT NOT NULL, variable
    TEXT NOT NULL, kind VARCHAR(24) NOT NULL, value FLOAT, severity INTEGER NOT NULL, in_transaction BOOLEAN NOT NULL,
    source VARCHAR(24) DEFAULT '' NOT NULL, updated_ms BIGINT NOT NULL, CONSTRAINT pk_monitors PRIMARY KEY
    (station_id, monitor_id));
CREATE TABLE network_profiles (station_id VARCHAR(48) NOT NULL, slot INTEGER NOT NULL, set_ms BIGINT NOT NULL, status
    VARCHAR(16) NOT NULL, document TEXT NOT NULL, CONSTRAINT pk_network_profiles PRIMARY KEY (station_id, slot));
CREATE TABLE payment_settlements (station_id VARCHAR(48) NOT NULL, psp_ref VARCHAR(255) NOT NULL, settled_ms BIGINT
    NOT NULL, transaction_id VARCHAR(36), status VARCHAR(16) NOT NULL, amount VARCHAR(40) NOT NULL, receipt_id
    VARCHAR(50) DEFAULT '' NOT NULL, received_ms BIGINT NOT NULL, document TEXT NOT NULL, CONSTRAINT
    pk_payment_settlements PRIMARY KEY (station_id, psp_ref, settled_ms));
CREATE INDEX ix_payment_settlements_transaction_id ON payment_settlements (transaction_id);
CREATE TABLE postings (id {ID} NOT NULL, period VARCHAR(7) NOT NULL, booked_ms BIGINT NOT NULL, station_id VARCHAR(48)
    NOT NULL, session_id VARCHAR(64) NOT NULL, vehicle VARCHAR(255) NOT NULL, reverses {REF}, reversed INTEGER NOT
    NULL, import_mwh BIGINT NOT NULL, export_mwh BIGINT NOT NULL, charging_ms BIGINT NOT NULL, discharging_ms BIGINT
    NOT NULL, idle_ms BIGINT NOT NULL, document TEXT NOT NULL, full_cycles BIGINT, v2g_cycles BIGINT, CONSTRAINT
    pk_postings PRIMARY KEY (id), CONSTRAINT fk_postings_reverses FOREIGN KEY(reverses) REFERENCES postings (id));
CREATE INDEX ix_postings_period ON postings (period);
CREATE INDEX ix_postings_session_id ON postings (session_id);
CREATE INDEX ix_postings_station_id_session_id ON postings (station_id, session_id);
CREATE INDEX ix_postings_vehicle_period ON postings (vehicle, period);
CREATE TABLE prequalifications (station_id VARCHAR(48) NOT NULL, certificate VARCHAR(64) NOT NULL, evse_id INTEGER NOT
    NULL, operator VARCHAR(100) NOT NULL, valid_from_ms BIGINT NOT NULL, valid_until_ms BIGINT NOT NULL, most_export_w
    BIGINT NOT NULL, CONSTRAINT pk_prequalifications PRIMARY KEY (station_id, certificate));
CREATE TABLE price_deliveries (station_id VARCHAR(48) NOT NULL, tariff VARCHAR(64) NOT NULL, sent_ms BIGINT NOT NULL,
    accepted_ms BIGINT, ended_ms BIGINT, CONSTRAINT pk_price_deliveries PRIMARY KEY (station_id, tariff, sent_ms));
CREATE INDEX ix_price_deliveries_ended_ms ON price_deliveries (ended_ms);
CREATE TABLE price_plans (plan_id VARCHAR(60) NOT NULL, currency VARCHAR(3) NOT NULL, created_ms BIGINT NOT NULL,
    document TEXT NOT NULL, CONSTRAINT pk_price_plans PRIMARY KEY (plan_id));
CREATE TABLE profile_templates (name VARCHAR(60) NOT NULL, updated_ms BIGINT NOT NULL, document TEXT NOT NULL,
    CONSTRAINT pk_profile_templates PRIMARY KEY (name));
CREATE TABLE "qr_codes" (station_id VARCHAR(48) NOT NULL, template TEXT NOT NULL, shared_secret TEXT NOT NULL,
    validity_s INTEGER NOT NULL, length INTEGER NOT NULL, CONSTRAINT pk_qr_codes PRIMARY KEY (station_id));
CREATE TABLE remote_starts (remote_start_id {ID} NOT NULL CONSTRAINT pk_remote_starts PRIMARY KEY{AUTO}, station_id VARCHAR(48) NOT NULL,
    evse_id INTEGER, token_type VARCHAR(20) NOT NULL, id_token VARCHAR(255) NOT NULL, transaction_limit TEXT,
    requested_ms BIGINT NOT NULL, answer VARCHAR(40) DEFAULT '' NOT NULL, transaction_id VARCHAR(36), started_ms
    BIGINT);
CREATE TABLE reservations (reservation_id {ID} NOT NULL CONSTRAINT pk_reservations PRIMARY KEY{AUTO}, station_id VARCHAR(48) NOT NULL,
    evse_id INTEGER, connector_type VARCHAR(20), token_type VARCHAR(20) NOT NULL, id_token VARCHAR(255) NOT NULL,
    group_type VARCHAR(20), group_token VARCHAR(255), expires_ms BIGINT NOT NULL, state VARCHAR(16) NOT NULL,
    updated_ms BIGINT NOT NULL, transaction_id VARCHAR(36), since_ms BIGINT DEFAULT '0' NOT NULL);
CREATE INDEX ix_reservations_station_id_state ON reservations (station_id, state);
CREATE INDEX ix_reservations_station_id_transaction_id ON reservations (station_id, transaction_id);
CREATE TABLE security_events (id {ID} NOT NULL, station_id VARCHAR(48) NOT NULL, source VARCHAR(8) NOT NULL, type
    VARCHAR(50) NOT NULL, at_ms BIGINT NOT NULL, received_ms BIGINT NOT NULL, tech_info VARCHAR(255) DEFAULT '' NOT
    NULL, times BIGINT DEFAULT '1' NOT NULL, last_ms BIGINT, CONSTRAINT pk_security_events PRIMARY KEY (id));
CREATE INDEX ix_security_events_station_id_at_ms ON security_events (station_id, at_ms);
CREATE TABLE settlements (station_id VARCHAR(48) NOT NULL, session_id VARCHAR(64) NOT NULL, computed_ms BIGINT NOT
    NULL, journal_head VARCHAR(128) NOT NULL, document TEXT NOT NULL, CONSTRAINT pk_settlements PRIMARY KEY
    (station_id, session_id));
CREATE TABLE sites (site_id VARCHAR(60) NOT NULL, updated_ms BIGINT NOT NULL, document TEXT NOT NULL, CONSTRAINT
    pk_sites PRIMARY KEY (site_id));
CREATE TABLE station_certificates (serial VARCHAR(40) NOT NULL, station_id VARCHAR(48) NOT NULL, kind VARCHAR(32) NOT
    NULL, subject VARCHAR(255) NOT NULL, issued_ms BIGINT NOT NULL, until_ms BIGINT NOT NULL, status VARCHAR(16) NOT
    NULL, pem TEXT NOT NULL, CONSTRAINT pk_station_certificates PRIMARY KEY (serial));
CREATE INDEX ix_station_certificates_station_id_issued_ms ON station_certificates (station_id, issued_ms);
CREATE TABLE station_requests (request_id {ID} NOT NULL CONSTRAINT pk_station_requests PRIMARY KEY{AUTO}, station_id VARCHAR(48) NOT NULL,
    action VARCHAR(40) NOT NULL, created_ms BIGINT NOT NULL, updated_ms BIGINT NOT NULL, answer VARCHAR(40) DEFAULT ''
    NOT NULL, progress VARCHAR(40) DEFAULT '' NOT NULL, detail TEXT DEFAULT '' NOT NULL, done_ms BIGINT, document TEXT
    NOT NULL);
CREATE INDEX ix_station_requests_station_id_action ON station_requests (station_id, action);
CREATE TABLE stations (station_id VARCHAR(48) NOT NULL, first_seen_ms BIGINT NOT NULL, last_seen_ms BIGINT NOT NULL,
    protocol VARCHAR(16) NOT NULL, boot_status VARCHAR(16) DEFAULT '' NOT NULL, boot_reason VARCHAR(32) DEFAULT '' NOT
    NULL, booted_ms BIGINT, vendor VARCHAR(50) DEFAULT '' NOT NULL, model VARCHAR(20) DEFAULT '' NOT NULL,
    serial_number VARCHAR(25) DEFAULT '' NOT NULL, firmware VARCHAR(50) DEFAULT '' NOT NULL, signal_version BIGINT,
    CONSTRAINT pk_stations PRIMARY KEY (station_id));
CREATE TABLE store_keys (fingerprint VARCHAR(32) NOT NULL, CONSTRAINT pk_store_keys PRIMARY KEY (fingerprint));
CREATE TABLE stream_values (id {ID} NOT NULL, station_id VARCHAR(48) NOT NULL, stream_id BIGINT NOT NULL, monitor_id
    BIGINT, at_ms BIGINT NOT NULL, value TEXT NOT NULL, CONSTRAINT pk_stream_values PRIMARY KEY (id));
CREATE INDEX ix_stream_values_station_id_stream_id_at_ms ON stream_values (station_id, stream_id, at_ms);
CREATE TABLE telemetry (ev VARCHAR(64) NOT NULL, boot BIGINT NOT NULL, seq BIGINT NOT NULL, at_ms BIGINT NOT NULL,
    received_ms BIGINT NOT NULL, digest {BLOB} NOT NULL, document {BLOB} NOT NULL, context VARCHAR(16) DEFAULT '' NOT
    NULL, present BIGINT, CONSTRAINT pk_telemetry PRIMARY KEY (ev, boot, seq));
CREATE INDEX ix_telemetry_ev_at_ms ON telemetry (ev, at_ms);
CREATE INDEX ix_telemetry_received_ms ON telemetry (received_ms);
CREATE TABLE telemetry_aggregates (ev VARCHAR(64) NOT NULL, width_s INTEGER NOT NULL, at_ms BIGINT NOT NULL, document {BLOB} NOT NULL, CONSTRAINT pk_telemetry_aggregates PRIMARY KEY (ev, width_s, at_ms));
CREATE INDEX ix_telemetry_aggregates_at_ms ON telemetry_aggregates (at_ms);
CREATE TABLE telemetry_keys (number INTEGER NOT NULL, made_ms BIGINT NOT NULL, sealed TEXT NOT NULL, CONSTRAINT
    pk_telemetry_keys PRIMARY KEY (number));
CREATE TABLE telemetry_marks (ev VARCHAR(64) NOT NULL, boot BIGINT NOT NULL, highest BIGINT NOT NULL, contiguous
    BIGINT NOT NULL, stored BIGINT NOT NULL, duplicates BIGINT NOT NULL, conflicts BIGINT NOT NULL, arrived TEXT
    DEFAULT '[]' NOT NULL, gaps TEXT DEFAULT '[]' NOT NULL, quarantined BIGINT DEFAULT '0' NOT NULL, missing BIGINT
    DEFAULT '0' NOT NULL, boot_id VARCHAR(16) DEFAULT '' NOT NULL, CONSTRAINT pk_telemetry_marks PRIMARY KEY (ev,
    boot));
CREATE INDEX ix_telemetry_marks_gaps ON telemetry_marks (ev) WHERE highest > contiguous;
CREATE TABLE telemetry_pending (id {ID} NOT NULL, sink VARCHAR(64) NOT NULL, ev VARCHAR(64) NOT NULL, boot BIGINT NOT
    NULL, first_seq BIGINT NOT NULL, last_seq BIGINT NOT NULL, received_ms BIGINT NOT NULL, CONSTRAINT
    pk_telemetry_pending PRIMARY KEY (id));
CREATE INDEX ix_telemetry_pending_ev ON telemetry_pending (ev);
CREATE INDEX ix_telemetry_pending_sink_id ON telemetry_pending (sink, id);
CREATE TABLE telemetry_quarantine (ev VARCHAR(64) NOT NULL, boot BIGINT NOT NULL, seq BIGINT NOT NULL, received_ms
    BIGINT NOT NULL, schema_version VARCHAR(64) NOT NULL, reason VARCHAR(200) NOT NULL, digest {BLOB} NOT NULL,
    document {BLOB} NOT NULL, CONSTRAINT pk_telemetry_quarantine PRIMARY KEY (ev, boot, seq));
CREATE TABLE telemetry_segments (ev VARCHAR(64) NOT NULL, boot BIGINT NOT NULL, first_seq BIGINT NOT NULL, at_ms
    BIGINT NOT NULL, document {BLOB} NOT NULL, CONSTRAINT pk_telemetry_segments PRIMARY KEY (ev, boot, first_seq));
CREATE INDEX ix_telemetry_segments_at_ms ON telemetry_segments (at_ms);
CREATE TABLE telemetry_sink_positions (sink VARCHAR(64) NOT NULL, ev VARCHAR(64) NOT NULL, boot BIGINT NOT NULL, seq
    BIGINT NOT NULL, CONSTRAINT pk_telemetry_sink_positions PRIMARY KEY (sink, ev));
CREATE TABLE telemetry_states (ev VARCHAR(64) NOT NULL, at_ms BIGINT NOT NULL, document {BLOB} NOT NULL, CONSTRAINT
    pk_telemetry_states PRIMARY KEY (ev));
CREATE TABLE token_groups (group_id VARCHAR(36) NOT NULL, document TEXT NOT NULL, CONSTRAINT pk_token_groups PRIMARY
    KEY (group_id));
CREATE TABLE token_uses (station_id VARCHAR(48) NOT NULL, transaction_id VARCHAR(36) NOT NULL, token_type VARCHAR(20)
    NOT NULL, id_token VARCHAR(255) NOT NULL, group_id VARCHAR(36) NOT NULL, since_ms BIGINT NOT NULL, energy_wh
    BIGINT, cost BIGINT, CONSTRAINT pk_token_uses PRIMARY KEY (station_id, transaction_id));
CREATE INDEX ix_token_uses_group_id_since_ms ON token_uses (group_id, since_ms);
CREATE INDEX ix_token_uses_token_type_id_token_since_ms ON token_uses (token_type, id_token, since_ms);
CREATE TABLE tokens (token_type VARCHAR(20) NOT NULL, id_token VARCHAR(255) NOT NULL, status VARCHAR(20) NOT NULL,
    energy_transfer TEXT NOT NULL, terms TEXT DEFAULT '{}' NOT NULL, source VARCHAR(8) DEFAULT 'config' NOT NULL,
    CONSTRAINT pk_tokens PRIMARY KEY (token_type, id_token));
CREATE TABLE transaction_costs (station_id VARCHAR(48) NOT NULL, transaction_id VARCHAR(36) NOT NULL, currency
    VARCHAR(3) NOT NULL, excl_tax BIGINT NOT NULL, incl_tax BIGINT NOT NULL, final BOOLEAN NOT NULL, source VARCHAR(8)
    NOT NULL, updated_ms BIGINT NOT NULL, document TEXT NOT NULL, CONSTRAINT pk_transaction_costs PRIMARY KEY
    (station_id, transaction_id));
CREATE TABLE transaction_plans (id {ID} NOT NULL, station_id VARCHAR(48) NOT NULL, transaction_id VARCHAR(36) NOT
    NULL, since_ms BIGINT NOT NULL, plan_id VARCHAR(60) NOT NULL, CONSTRAINT pk_transaction_plans PRIMARY KEY (id),
    CONSTRAINT fk_transaction_plans_plan_id FOREIGN KEY(plan_id) REFERENCES price_plans (plan_id));
CREATE INDEX ix_transaction_plans_station_id_transaction_id ON transaction_plans (station_id, transaction_id);
CREATE TABLE transactions (station_id VARCHAR(48) NOT NULL, transaction_id VARCHAR(36) NOT NULL, active BOOLEAN NOT
    NULL, started_ms BIGINT, ended_ms BIGINT, document TEXT NOT NULL, needs TEXT, heard_ms BIGINT DEFAULT '0' NOT
    NULL, answer VARCHAR(20) DEFAULT '' NOT NULL, CONSTRAINT pk_transactions PRIMARY KEY (station_id, transaction_id),
    CONSTRAINT fk_transactions_station_id FOREIGN KEY(station_id) REFERENCES stations (station_id));
CREATE INDEX ix_transactions_started_ms ON transactions (started_ms);
CREATE INDEX ix_transactions_station_id_active ON transactions (station_id, active);
CREATE INDEX ix_transactions_station_id_started_ms ON transactions (station_id, started_ms);
CREATE INDEX ix_transactions_transaction_id ON transactions (transaction_id);
CREATE TABLE vehicle_checkpoints (session_id VARCHAR(16) NOT NULL, ev VARCHAR(64) NOT NULL, number BIGINT NOT NULL,
    received_ms BIGINT NOT NULL, document {BLOB} NOT NULL, CONSTRAINT pk_vehicle_checkpoints PRIMARY KEY (session_id,
    ev, number));
CREATE TABLE web_payments (id {ID} NOT NULL, station_id VARCHAR(48) NOT NULL, evse_id INTEGER NOT NULL, state
    VARCHAR(16) NOT NULL, started_ms BIGINT NOT NULL, expires_ms BIGINT NOT NULL, remote_start_id BIGINT,
    transaction_limit TEXT, CONSTRAINT pk_web_payments PRIMARY KEY (id));
CREATE INDEX ix_web_payments_station_id_state ON web_payments (station_id, state);
CREATE TABLE webhooks (webhook_id VARCHAR(32) NOT NULL, url VARCHAR(2000) NOT NULL, kinds TEXT NOT NULL, station_id
    VARCHAR(48), enabled BOOLEAN NOT NULL, failures INTEGER NOT NULL, created_ms BIGINT NOT NULL, created_by
    VARCHAR(128) NOT NULL, sealed_secret TEXT DEFAULT '' NOT NULL, shows_tokens BOOLEAN DEFAULT {TRUE} NOT NULL,
    CONSTRAINT pk_webhooks PRIMARY KEY (webhook_id));
CREATE TABLE campaign_members (campaign_id BIGINT NOT NULL, station_id VARCHAR(48) NOT NULL, cohort INTEGER NOT NULL,
    state VARCHAR(16) NOT NULL, attempts INTEGER NOT NULL, status VARCHAR(40) DEFAULT '' NOT NULL, request_id BIGINT,
    not_before_ms BIGINT NOT NULL, updated_ms BIGINT NOT NULL, CONSTRAINT pk_campaign_members PRIMARY KEY
    (campaign_id, station_id), CONSTRAINT fk_campaign_members_campaign_id FOREIGN KEY(campaign_id) REFERENCES
    campaigns (campaign_id));
CREATE INDEX ix_campaign_members_request_id ON campaign_members (request_id);
CREATE TABLE connectors (station_id VARCHAR(48) NOT NULL, evse_id INTEGER NOT NULL, connector_id INTEGER NOT NULL,
    status VARCHAR(16) NOT NULL, changed_ms BIGINT NOT NULL, CONSTRAINT pk_connectors PRIMARY KEY (station_id,
    evse_id, connector_id), CONSTRAINT fk_connectors_station_id FOREIGN KEY(station_id) REFERENCES stations
    (station_id));
CREATE TABLE debits (posting_id {REF} NOT NULL, mandate_id {REF} NOT NULL, "key" VARCHAR(200) NOT NULL,
    amount_micro BIGINT NOT NULL, state VARCHAR(16) NOT NULL, reference VARCHAR(255) NOT NULL, reason TEXT NOT NULL,
    at_ms BIGINT NOT NULL, CONSTRAINT pk_debits PRIMARY KEY (posting_id), CONSTRAINT fk_debits_posting_id FOREIGN
    KEY(posting_id) REFERENCES postings (id), CONSTRAINT fk_debits_mandate_id FOREIGN KEY(mandate_id) REFERENCES
    mandates (id), CONSTRAINT uq_debits_key UNIQUE ("key"));
CREATE INDEX ix_debits_mandate_id ON debits (mandate_id);
CREATE INDEX ix_debits_state ON debits (state);
CREATE TABLE meter_values (id {ID} NOT NULL, station_id VARCHAR(48) NOT NULL, evse_id INTEGER, at_ms BIGINT NOT NULL,
    measurand VARCHAR(64) NOT NULL, value VARCHAR(40) NOT NULL, unit VARCHAR(20) NOT NULL, context VARCHAR(24) NOT
    NULL, phase VARCHAR(8) NOT NULL, location VARCHAR(16) NOT NULL, signed TEXT NOT NULL, verdict VARCHAR(12) DEFAULT
    '' NOT NULL, CONSTRAINT pk_meter_values PRIMARY KEY (id), CONSTRAINT fk_meter_values_station_id FOREIGN
    KEY(station_id) REFERENCES stations (station_id));
CREATE TABLE plan_assignments (station_id VARCHAR(48) NOT NULL, evse_id INTEGER NOT NULL, token_type VARCHAR(20) NOT
    NULL, id_token VARCHAR(255) NOT NULL, plan_id VARCHAR(60) NOT NULL, since_ms BIGINT NOT NULL, CONSTRAINT
    pk_plan_assignments PRIMARY KEY (station_id, evse_id, token_type, id_token), CONSTRAINT
    fk_plan_assignments_plan_id FOREIGN KEY(plan_id) REFERENCES price_plans (plan_id));
CREATE TABLE posting_entries (posting_id {REF} NOT NULL, account VARCHAR(16) NOT NULL, unit VARCHAR(3) NOT NULL,
    amount BIGINT NOT NULL, CONSTRAINT pk_posting_entries PRIMARY KEY (posting_id, account, unit), CONSTRAINT
    fk_posting_entries_posting_id FOREIGN KEY(posting_id) REFERENCES postings (id));
CREATE TABLE request_parts (request_id BIGINT NOT NULL, seq_no INTEGER NOT NULL, received_ms BIGINT NOT NULL, document
    TEXT NOT NULL, CONSTRAINT pk_request_parts PRIMARY KEY (request_id, seq_no), CONSTRAINT
    fk_request_parts_request_id FOREIGN KEY(request_id) REFERENCES station_requests (request_id));
CREATE TABLE transaction_events (id {ID} NOT NULL, station_id VARCHAR(48) NOT NULL, transaction_id VARCHAR(36) NOT
    NULL, seq_no BIGINT NOT NULL, kind VARCHAR(8) NOT NULL, "trigger" VARCHAR(32) NOT NULL, at_ms BIGINT NOT NULL,
    received_ms BIGINT NOT NULL, offline BOOLEAN NOT NULL, digest VARCHAR(64) NOT NULL, document TEXT NOT NULL,
    samples TEXT DEFAULT '[]' NOT NULL, CONSTRAINT pk_transaction_events PRIMARY KEY (id), CONSTRAINT
    fk_transaction_events_station_id_transaction_id FOREIGN KEY(station_id, transaction_id) REFERENCES transactions
    (station_id, transaction_id), CONSTRAINT uq_transaction_events_station_id_transaction_id_seq_no UNIQUE
    (station_id, transaction_id, seq_no));
CREATE TABLE transaction_faults (id {ID} NOT NULL, station_id VARCHAR(48) NOT NULL, transaction_id VARCHAR(36) NOT
    NULL, seq_no BIGINT NOT NULL, kind VARCHAR(24) NOT NULL, detail TEXT NOT NULL, found_ms BIGINT NOT NULL,
    CONSTRAINT pk_transaction_faults PRIMARY KEY (id), CONSTRAINT fk_transaction_faults_station_id_transaction_id
    FOREIGN KEY(station_id, transaction_id) REFERENCES transactions (station_id, transaction_id));
CREATE INDEX ix_transaction_faults_station_id_transaction_id ON transaction_faults (station_id, transaction_id);
CREATE TABLE webhook_deliveries (id {ID} NOT NULL, webhook_id VARCHAR(32) NOT NULL, kind VARCHAR(64) NOT NULL, body
    TEXT NOT NULL, created_ms BIGINT NOT NULL, due_ms BIGINT, attempts INTEGER NOT NULL, delivered_ms BIGINT, error
    VARCHAR(300) NOT NULL, CONSTRAINT pk_webhook_deliveries PRIMARY KEY (id), CONSTRAINT
    fk_webhook_deliveries_webhook_id FOREIGN KEY(webhook_id) REFERENCES webhooks (webhook_id) ON DELETE CASCADE);
CREATE INDEX ix_webhook_deliveries_due_ms ON webhook_deliveries (due_ms);
CREATE INDEX ix_webhook_deliveries_webhook_id_id ON webhook_deliveries (webhook_id, id);
