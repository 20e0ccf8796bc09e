"""The database schema, a module for each domain. Migrations bring existing databases here; a test compares both."""

from csms.db.tables.admission import admissions, connection_faults
from csms.db.tables.alerts import (
    alert_mails,
    alert_silences,
    alerts,
    battery_checks,
    battery_estimates,
    battery_reports,
    battery_states,
)
from csms.db.tables.api import api_tokens, audit, idempotency_keys, store_keys, webhook_deliveries, webhooks
from csms.db.tables.attestations import attestations
from csms.db.tables.base import metadata
from csms.db.tables.books import periods, posting_entries, postings
from csms.db.tables.campaigns import campaign_members, campaigns
from csms.db.tables.charging import (
    charging_limits,
    charging_profiles,
    der_alarms,
    der_controls,
    dispatch_course,
    dispatch_orders,
    dynamic_schedules,
    ev_schedules,
    fleets,
    profile_templates,
    sites,
)
from csms.db.tables.commands import availability_orders, local_lists, remote_starts, reservations
from csms.db.tables.device_model import device_variables, network_profiles
from csms.db.tables.diagnostics import device_events, display_messages, event_streams, monitors, stream_values
from csms.db.tables.leases import leases
from csms.db.tables.mandates import debits, mandates
from csms.db.tables.payments import battery_swaps, data_transfers, payment_settlements, qr_codes, web_payments
from csms.db.tables.prequalifications import prequalifications
from csms.db.tables.records import (
    grid_signals,
    grid_sources,
    journal_certificates,
    journal_lines,
    journal_reviews,
    journals,
    offer_decisions,
    price_deliveries,
    settlements,
)
from csms.db.tables.requests import request_parts, station_requests
from csms.db.tables.security import chargers, security_events, station_certificates
from csms.db.tables.stations import connectors, session_metrics, stations
from csms.db.tables.tariffs import plan_assignments, price_plans, transaction_costs, transaction_plans
from csms.db.tables.telemetry import (
    telemetry,
    telemetry_aggregates,
    telemetry_keys,
    telemetry_marks,
    telemetry_pending,
    telemetry_quarantine,
    telemetry_segments,
    telemetry_sink_positions,
    telemetry_states,
    vehicle_checkpoints,
)
from csms.db.tables.tokens import token_groups, token_uses, tokens
from csms.db.tables.transactions import (
    meter_keys,
    meter_values,
    transaction_events,
    transaction_faults,
    transaction_totals,
    transactions,
)
from csms.db.tables.users import user_passkeys, user_sessions, users

__all__ = [
    "admissions",
    "alert_mails",
    "alert_silences",
    "alerts",
    "api_tokens",
    "attestations",
    "audit",
    "availability_orders",
    "battery_checks",
    "battery_estimates",
    "battery_reports",
    "battery_states",
    "battery_swaps",
    "campaign_members",
    "campaigns",
    "chargers",
    "charging_limits",
    "charging_profiles",
    "connection_faults",
    "connectors",
    "data_transfers",
    "debits",
    "der_alarms",
    "der_controls",
    "device_events",
    "device_variables",
    "dispatch_course",
    "dispatch_orders",
    "display_messages",
    "dynamic_schedules",
    "ev_schedules",
    "event_streams",
    "fleets",
    "grid_signals",
    "grid_sources",
    "idempotency_keys",
    "journal_certificates",
    "journal_lines",
    "journal_reviews",
    "journals",
    "leases",
    "local_lists",
    "mandates",
    "metadata",
    "meter_keys",
    "meter_values",
    "monitors",
    "network_profiles",
    "offer_decisions",
    "payment_settlements",
    "periods",
    "plan_assignments",
    "posting_entries",
    "postings",
    "prequalifications",
    "price_deliveries",
    "price_plans",
    "profile_templates",
    "qr_codes",
    "remote_starts",
    "request_parts",
    "reservations",
    "security_events",
    "session_metrics",
    "settlements",
    "sites",
    "station_certificates",
    "station_requests",
    "stations",
    "store_keys",
    "stream_values",
    "telemetry",
    "telemetry_aggregates",
    "telemetry_keys",
    "telemetry_marks",
    "telemetry_pending",
    "telemetry_quarantine",
    "telemetry_segments",
    "telemetry_sink_positions",
    "telemetry_states",
    "token_groups",
    "token_uses",
    "tokens",
    "transaction_costs",
    "transaction_events",
    "transaction_faults",
    "transaction_plans",
    "transaction_totals",
    "transactions",
    "user_passkeys",
    "user_sessions",
    "users",
    "vehicle_checkpoints",
    "web_payments",
    "webhook_deliveries",
    "webhooks",
]
