/* SPDX-License-Identifier: Apache-2.0
 *
 * See monitor.h. Functions and fields have the names of v2g/safety/charger.py, whose comments are not repeated.
 */
#include "monitor.h"

#include <string.h>

#define OVER_VOLTAGE_PERCENT 110
#define OVER_VOLTAGE_US INT64_C(400000)
#define MATCHED_MV 20000
#define MATCH_US INT64_C(1000000)
#define PRE_CHARGE_MA 2000
#define NEVER_YET INT64_MIN

#define UNIT 64
#define MOST INT64_C(256)
#define HOLD_US INT64_C(100000)
#define FULL (INT64_C(1) << 50)
#define LONGEST_US (INT64_C(1) << 53)
#define FRACTION 20
#define RENEWS 8
#define LONGEST_LAG_US (INT64_C(1) << 28)

typedef struct {
    int64_t sensor;
    int64_t control;
} margin;

static const margin DIRECT = {1000, 2500};
static const margin ALTERNATING = {150, 350};
static const margin LINE = {650, 500};

static const v2g_output NOTHING = {0, 0, 0, 0, 0};
static const v2g_output UNBOUNDED = {V2G_UNBOUNDED, V2G_UNBOUNDED, V2G_UNBOUNDED, V2G_UNBOUNDED, V2G_UNBOUNDED};
static const v2g_why_ NO_WHY = {V2G_LIMIT, 0};

/* -- arithmetic */

static v2g_time after(v2g_time now, v2g_time duration)
{
    return duration > V2G_FOREVER - now ? V2G_FOREVER : now + duration;
}

static int32_t min32(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* a / b rounded down, for b > 0. */
static int64_t floor_div(int64_t a, int64_t b)
{
    const int64_t quotient = a / b;
    return a % b < 0 ? quotient - 1 : quotient;
}

static v2g_output within(v2g_output a, v2g_output b)
{
    const v2g_output both = {
        .charge_w = min32(a.charge_w, b.charge_w),
        .discharge_w = min32(a.discharge_w, b.discharge_w),
        .charge_ma = min32(a.charge_ma, b.charge_ma),
        .discharge_ma = min32(a.discharge_ma, b.discharge_ma),
        .voltage_mv = min32(a.voltage_mv, b.voltage_mv),
    };
    return both;
}

static bool same(v2g_output a, v2g_output b)
{
    return a.charge_w == b.charge_w && a.discharge_w == b.discharge_w && a.charge_ma == b.charge_ma &&
           a.discharge_ma == b.discharge_ma && a.voltage_mv == b.voltage_mv;
}

/* -- excess over time */

static v2g_time bounded(v2g_time time)
{
    return max64(-LONGEST_US, min64(LONGEST_US, time));
}

static int32_t weigh(int64_t excess, int64_t tolerance)
{
    return excess > tolerance ? (int32_t)min64(MOST, excess * UNIT / tolerance) : 0;
}

static void excess_then(v2g_excess_ *excess, int32_t weight, v2g_time now)
{
    const v2g_time at = bounded(now);
    const int64_t passed = max64(0, at - excess->at);
    int64_t beyond = 0;
    if (excess->weight != 0) {
        beyond = weight != 0 ? passed : min64(passed, HOLD_US);
    }
    excess->level = max64(0, min64(FULL, excess->level + beyond * excess->weight - (passed - beyond)));
    excess->weight = weight;
    excess->at = at;
}

/* No budget is longer than the highest level, so that the product fits. */
static bool excess_lasts(const v2g_excess_ *excess, v2g_time budget)
{
    return excess->weight != 0 && excess->level >= bounded(budget) * UNIT;
}

static void excess_forget(v2g_excess_ *excess)
{
    const v2g_excess_ none = {0, 0, 0};
    *excess = none;
}

static void highest_then(v2g_highest_ *highest, int64_t value, v2g_time now, v2g_time follow)
{
    uint8_t kept = 0;
    for (uint8_t i = 0; i < highest->count; i++) {
        const v2g_past_ past = highest->past[i];
        if (now < past.end + follow && past.value > value) {
            highest->past[kept] = past;
            kept++;
        }
    }
    highest->count = kept;
    if (highest->value > value) {
        const v2g_time slot = max64(1, -floor_div(-follow, (int64_t)V2G_SLOTS)); /* rounded up: at most V2G_SLOTS + 1 */
        const v2g_past_ last = {-floor_div(-now, slot) * slot, highest->value};
        if (kept < V2G_SLOTS + 2u && (kept == 0u || highest->past[kept - 1u].end != last.end)) {
            highest->past[kept] = last;
            highest->count++;
        }
    }
    highest->value = value;
}

static int64_t highest_most(const v2g_highest_ *highest)
{
    return highest->count > 0u ? highest->past[0].value : highest->value;
}

/* -- flow */

static int64_t margin_of(const margin *tolerance, int64_t bound)
{
    return tolerance->sensor + (bound != 0 ? max64(tolerance->control, bound / FRACTION) : 0);
}

static int64_t lag_budget(int64_t peak, v2g_time follow)
{
    return peak * min64(LONGEST_LAG_US, follow);
}

static bool lag_used_up(const v2g_lag_ *lag, v2g_time follow)
{
    return lag->area != 0 && lag->area >= lag_budget(lag->peak, follow);
}

static void lag_then(v2g_lag_ *lag, int64_t value, const v2g_highest_ *bounds, const margin *tolerance, v2g_time follow,
                     v2g_time now)
{
    const int64_t bound = bounds->value;
    const int64_t beyond = value - bound - margin_of(tolerance, bound);
    const int64_t rate = beyond > 0 ? beyond : min64(0, max64(0, value) - bound);
    const int64_t passed = max64(0, min64(LONGEST_LAG_US, now - lag->at));
    int64_t above = 0;
    if (lag->area == 0 && lag->rate <= 0 && beyond <= 0) {
        return; /* as nearly always: nothing has flowed beyond */
    }
    if (lag->rate > 0) {
        above = beyond > 0 ? passed : min64(passed, HOLD_US);
    }
    const int64_t lost = lag->peak / RENEWS - min64(0, lag->rate);
    const int64_t area = lag->area + above * lag->rate - (passed - above) * lost;
    lag->peak = max64(lag->peak, highest_most(bounds));
    lag->area = max64(0, min64(2 * lag_budget(lag->peak, follow), area));
    lag->rate = rate;
    lag->at = now;
    if (lag->area == 0 && beyond <= 0) {
        (void)memset(lag, 0, sizeof *lag);
    }
}

static int32_t weigh_flow(int64_t value, const v2g_highest_ *bounds, const v2g_lag_ *lag, const margin *tolerance,
                          v2g_time follow)
{
    const int64_t bound = lag_used_up(lag, follow) ? bounds->value : highest_most(bounds);
    return weigh(value - bound, margin_of(tolerance, bound));
}

static void bounds_then(v2g_flow_ *flow, int64_t most, int64_t least, v2g_time follow, v2g_time now)
{
    highest_then(&flow->most, most, bounded(now), bounded(follow));
    highest_then(&flow->least, least, bounded(now), bounded(follow));
}

static void flow_then(v2g_flow_ *flow, size_t line, int64_t value, const margin *tolerance, v2g_time follow_us,
                      v2g_time now)
{
    v2g_carried_ *const carried = &flow->carried[line];
    const v2g_time at = bounded(now);
    const v2g_time follow = bounded(follow_us);
    lag_then(&carried->charge, value, &flow->most, tolerance, follow, at);
    lag_then(&carried->discharge, -value, &flow->least, tolerance, follow, at);
    const int32_t up = weigh_flow(value, &flow->most, &carried->charge, tolerance, follow);
    const int32_t down = weigh_flow(-value, &flow->least, &carried->discharge, tolerance, follow);
    excess_then(&carried->excess, up > down ? up : down, at);
}

/* Bounds that may still be followed stay. */
static void flow_forget(v2g_flow_ *flow)
{
    (void)memset(flow->carried, 0, sizeof flow->carried);
}

/* -- two measurements of one flow */

#define BUDGET_US INT64_C(2000000)
#define OLDEST_US INT64_C(5000000)
#define SLOT_US INT64_C(50000)

static int64_t magnitude(int64_t value)
{
    return value < 0 ? -value : value;
}

void v2g_agreement_init(v2g_agreement *a, const v2g_errors *errors)
{
    (void)memset(a, 0, sizeof *a);
    a->errors = *errors;
    a->slot_us = max64(SLOT_US, (OLDEST_US + errors->late_us) / (int64_t)V2G_SHOWN);
}

/* Note what the first one shows now, and forget what it showed before `oldest`. */
static void show(v2g_agreement *a, int64_t first_w, v2g_time oldest, v2g_time now)
{
    uint8_t kept = 0;
    const int64_t before = a->begun ? a->last_w : first_w; /* it has lasted until now */
    if (a->count > 0u && now < a->shown[a->count - 1u].end) {
        v2g_shown_ *const slot = &a->shown[a->count - 1u];
        slot->least = min64(slot->least, first_w);
        slot->most = max64(slot->most, first_w);
    } else {
        const v2g_shown_ slot = {now + a->slot_us, min64(before, first_w), max64(before, first_w)};
        a->shown[a->count] = slot;
        a->count++;
    }
    a->last_w = first_w;
    a->begun = true;
    for (uint8_t i = 0; i < a->count; i++) {
        const v2g_shown_ slot = a->shown[i];
        if (slot.end >= oldest) {
            a->shown[kept] = slot;
            kept++;
        }
    }
    a->count = kept;
}

bool v2g_agreement_differ(v2g_agreement *a, int32_t first_w, bool metered, int32_t second_w, v2g_time read_at,
                          v2g_time now)
{
    const v2g_time at = bounded(now);
    show(a, first_w, max64(bounded(read_at), at - OLDEST_US) - a->errors.late_us, at);
    if (!metered) {
        excess_forget(&a->excess);
        return false;
    }
    int64_t least = a->shown[0].least;
    int64_t most = a->shown[0].most;
    for (uint8_t i = 1; i < a->count; i++) {
        least = min64(least, a->shown[i].least);
        most = max64(most, a->shown[i].most);
    }
    const int64_t parts = a->errors.first_ppm * max64(magnitude(least), magnitude(most)) +
                          a->errors.second_ppm * magnitude(second_w);
    const int64_t beyond = max64(second_w - most, least - second_w);
    excess_then(&a->excess, weigh(beyond, a->errors.least_w + parts / 1000000), at);
    return excess_lasts(&a->excess, BUDGET_US);
}

size_t v2g_agreement_size(void)
{
    return sizeof(v2g_agreement);
}

/* -- verdicts */

/* A firmware that does not take them loses the older ones, never that it has to open. */
static void say(v2g_monitor *m, v2g_verdict verdict)
{
    if (m->verdict_count < V2G_VERDICTS) {
        m->verdicts[m->verdict_count] = verdict;
        m->verdict_count++;
    } else if (!m->verdicts[V2G_VERDICTS - 1u].open) {
        m->verdicts[V2G_VERDICTS - 1u] = verdict;
    }
}

static void say_lower(v2g_monitor *m, v2g_why_ why, v2g_output output)
{
    const v2g_verdict verdict = {.open = false, .reason = why.reason, .fault = why.fault, .output = output};
    say(m, verdict);
}

/* -- the contactor */

static void contact_move(v2g_monitor *m, v2g_time until)
{
    m->contact.commanded = !m->contact.commanded;
    m->contact.moves_until = until;
    m->contact.arrived = false;
    excess_forget(&m->contact.strays);
}

static void contact_open(v2g_monitor *m, v2g_time now)
{
    if (m->contact.commanded) {
        contact_move(m, after(now, m->rating.open_us));
    }
}

static bool contact_has_stayed(const v2g_contact_ *contact, v2g_time now)
{
    return contact->closed == contact->commanded && now >= contact->moves_until;
}

static void contact_feedback(v2g_contact_ *contact, bool closed, v2g_time now)
{
    contact->arrived = contact->arrived || closed == contact->commanded || contact_has_stayed(contact, now);
    contact->closed = closed;
}

static bool contradicts(v2g_monitor *m, v2g_time now)
{
    v2g_contact_ *const contact = &m->contact;
    const bool astray = contact->closed != contact->commanded;
    excess_then(&contact->strays, astray && contact->arrived ? UNIT : 0, now);
    if (!astray) {
        return false;
    }
    return contact->arrived ? excess_lasts(&contact->strays, m->rating.grace_us) : now >= contact->moves_until;
}

static void open_for_good(v2g_monitor *m, v2g_why_ why, v2g_time now)
{
    if (m->opened && (why.reason != V2G_CONTACTOR_WELDED || m->opened_why.reason == V2G_CONTACTOR_WELDED)) {
        return; /* what has not opened since is another fault */
    }
    m->opened = true;
    m->opened_why = why;
    m->driven = NOTHING;
    contact_open(m, now);
    const v2g_verdict verdict = {.open = true, .reason = why.reason, .fault = why.fault, .output = NOTHING};
    say(m, verdict);
}

static void open_because(v2g_monitor *m, v2g_reason reason, v2g_time now)
{
    const v2g_why_ why = {reason, 0};
    open_for_good(m, why, now);
}

/* -- the rule */

static bool lasts(v2g_monitor *m, v2g_lasting_ what, bool wrong, v2g_time duration, v2g_time now)
{
    excess_then(&m->lasting[what], wrong ? UNIT : 0, now);
    return excess_lasts(&m->lasting[what], duration);
}

static bool near(const v2g_monitor *m, int32_t target_mv)
{
    const int64_t apart = (int64_t)m->voltage_mv - target_mv;
    return apart <= MATCHED_MV && apart >= -MATCHED_MV;
}

/* Say why the contactor must be open; V2G_LIMIT: it may be closed. */
static v2g_why_ why_apart(const v2g_monitor *m, v2g_time now)
{
    v2g_why_ why = NO_WHY;
    if (m->bad_input) {
        why.reason = V2G_BAD_INPUT;
    } else if (m->fault_count > 0u) {
        why.reason = V2G_FAULT;
        why.fault = m->faults[0];
    } else if (m->opened) {
        why = m->opened_why;
    } else if (!m->authorised) {
        why.reason = V2G_NOT_AUTHORISED;
    } else if (m->stop_at != V2G_FOREVER && now >= m->stop_at) {
        why.reason = V2G_STOP;
    } else if (m->phase == V2G_IDLE) {
        why.reason = V2G_NOT_REQUESTED;
    } else if (m->phase == V2G_VOLTAGE && now >= m->voltage_until) {
        why.reason = V2G_VOLTAGE_FOR_TOO_LONG;
    } else if (m->phase == V2G_POWER && !m->matched && now >= m->match_until) {
        why.reason = V2G_PRE_CHARGE_NOT_REACHED;
    } else if (now >= m->closed_until) {
        why.reason = V2G_SILENT;
    }
    return why;
}

/* Say why no power may flow through a closed contactor; V2G_LIMIT: only limits bound it. */
static v2g_reason why_no_power(const v2g_monitor *m, v2g_time now)
{
    v2g_reason why = V2G_LIMIT;
    if (m->stop_at != V2G_FOREVER) {
        why = V2G_STOP;
    } else if (m->phase == V2G_VOLTAGE) {
        why = V2G_ONLY_VOLTAGE;
    } else if (m->phase != V2G_POWER) {
        why = V2G_ONLY_REST;
    } else if (now >= m->power_until) {
        why = V2G_LOOP_SILENT;
    } else if (!m->matched) {
        why = V2G_PRE_CHARGE_NOT_REACHED;
    } else if (!m->ready) {
        why = V2G_NOT_READY;
    }
    return why;
}

static v2g_output flow(const v2g_monitor *m, v2g_reason why, v2g_time now)
{
    v2g_output output = m->bears;
    if (why != V2G_LIMIT) {
        output.charge_w = 0;
        output.discharge_w = 0;
    }
    for (size_t i = 0; i < V2G_SOURCES; i++) {
        const v2g_limit_ *const limit = &m->limits[i];
        v2g_output most = limit->most;
        most.voltage_mv = output.voltage_mv;
        if (!(limit->from <= now && now < limit->until)) {
            most.discharge_w = 0;
        }
        output = within(output, most);
    }
    const v2g_output rated = {m->rating.charge_w, m->rating.discharge_w, m->rating.charge_ma, m->rating.discharge_ma,
                              output.voltage_mv};
    output = within(output, rated);
    if (m->discharge == V2G_DISCHARGE_SIGNED && now < m->signed_until) {
        output.discharge_w = min32(output.discharge_w, m->signed_w);
    } else if (m->discharge != V2G_DISCHARGE_STANDARD) {
        output.discharge_w = 0;
    }
    return output;
}

typedef struct {
    bool connected;
    v2g_output output;
    v2g_why_ why;
} allowed_now;

static allowed_now allowed_at(const v2g_monitor *m, v2g_time now)
{
    allowed_now allowed = {.connected = false, .output = NOTHING, .why = why_apart(m, now)};
    if (allowed.why.reason == V2G_LIMIT) {
        allowed.connected = true;
        allowed.why.reason = why_no_power(m, now);
        allowed.output = flow(m, allowed.why.reason, now);
    }
    return allowed;
}

static bool noticed_later(const v2g_monitor *m, const allowed_now *allowed)
{
    return m->notice_us != 0 && (allowed->output.charge_w != 0 || allowed->output.discharge_w != 0);
}

/* The vehicle's maximum voltage: one that it has just lowered is for the session to follow. */
static int64_t most_mv_at(const v2g_monitor *m, v2g_time now)
{
    return now < m->before_until ? max64(m->bears.voltage_mv, m->before_mv) : m->bears.voltage_mv;
}

static bool over_voltage(const v2g_monitor *m, v2g_time now)
{
    const int64_t most_mv = most_mv_at(m, now);
    return m->voltage_mv > most_mv + max64(5000, floor_div(most_mv, 100));
}

/* The current that a command permits at the present voltage. */
static int64_t current_of(const v2g_monitor *m, int64_t power_w, int64_t current_ma)
{
    return min64(current_ma, power_w * 1000000 / max64(1, m->voltage_mv));
}

static bool lines_obey(v2g_monitor *m, v2g_time now)
{
    const v2g_output driven = m->driven;
    bool obey = true;
    if (m->has_lines) {
        bounds_then(&m->lines, driven.charge_w != 0 ? driven.charge_ma : 0,
                    driven.discharge_w != 0 ? driven.discharge_ma : 0, m->rating.follow_us, now);
    }
    for (size_t i = 0; i < V2G_LINES; i++) {
        if (m->has_lines) {
            flow_then(&m->lines, i, m->line_ma[i], &LINE, m->rating.follow_us, now);
        }
        obey = obey && !excess_lasts(&m->lines.carried[i].excess, m->rating.excess_us);
    }
    return obey;
}

/* Say whether something flows through a contactor that was commanded open, and has had its time to move. */
static bool strays(const v2g_monitor *m, v2g_time now)
{
    const v2g_time moves_until = m->contact.moves_until;
    bool flows = magnitude(m->current_ma) > DIRECT.sensor || magnitude(m->power_w) > ALTERNATING.sensor;
    for (size_t i = 0; i < V2G_LINES; i++) {
        flows = flows || (m->has_lines && magnitude(m->line_ma[i]) > LINE.sensor);
    }
    return flows && !m->contact.commanded && moves_until != NEVER_YET && now >= moves_until;
}

static void look_at_output(v2g_monitor *m, v2g_time now)
{
    const v2g_output driven = m->driven;
    const v2g_time follow = m->rating.follow_us;
    int64_t most_ma = current_of(m, driven.charge_w, driven.charge_ma);
    const int64_t least_ma = current_of(m, driven.discharge_w, driven.discharge_ma);
    if (m->phase == V2G_VOLTAGE) {
        most_ma = max64(most_ma, PRE_CHARGE_MA);
    }
    if (lasts(m, V2G_LASTS_VOLTAGE, m->contact.commanded && over_voltage(m, now), OVER_VOLTAGE_US, now)) {
        open_because(m, V2G_OVER_VOLTAGE, now);
    }
    bounds_then(&m->current, most_ma, least_ma, follow, now);
    bounds_then(&m->power, driven.charge_w, driven.discharge_w, follow, now);
    flow_then(&m->current, 0, m->current_ma, &DIRECT, follow, now);
    flow_then(&m->power, 0, m->power_w, &ALTERNATING, follow, now);
    const bool obey = lines_obey(m, now);
    if (lasts(m, V2G_LASTS_STRAY, m->opened && strays(m, now), after(follow, m->rating.excess_us), now)) {
        open_because(m, V2G_CONTACTOR_WELDED, now);
    }
    if (!obey || excess_lasts(&m->current.carried[0].excess, m->rating.excess_us) ||
        excess_lasts(&m->power.carried[0].excess, m->rating.excess_us)) {
        open_because(m, V2G_POWER_NOT_OBEYED, now);
    }
}

static void look(v2g_monitor *m, v2g_time now)
{
    if (contradicts(m, now)) {
        open_because(m, m->contact.closed ? V2G_CONTACTOR_WELDED : V2G_CONTACTOR_DROPPED, now);
    }
    const allowed_now allowed = allowed_at(m, now);
    const v2g_output lowered = within(m->driven, allowed.output);
    const v2g_time notice_us = noticed_later(m, &allowed) ? m->notice_us : 0;
    if (lasts(m, V2G_LASTS_CONNECTED, m->contact.commanded && !allowed.connected, m->rating.grace_us, now)) {
        open_for_good(m, allowed.why, now);
    } else if (lasts(m, V2G_LASTS_DRIVEN, !same(lowered, m->driven), after(notice_us, m->rating.grace_us), now)) {
        m->driven = lowered;
        excess_forget(&m->lasting[V2G_LASTS_DRIVEN]);
        say_lower(m, allowed.why, lowered);
    }
    look_at_output(m, now);
}

/* -- inputs */

static void forget(v2g_monitor *m)
{
    m->phase = V2G_IDLE;
    m->power_until = 0;
    m->closed_until = 0;
    m->voltage_until = 0;
    m->bears = NOTHING;
    m->before_mv = 0;
    m->before_until = 0;
    m->ready = true;
    m->target_mv = 0;
    m->matched = true;
    m->match_until = 0;
    m->discharge = V2G_DISCHARGE_NONE;
    m->signed_w = 0;
    m->signed_until = 0;
    m->opened = false;
    m->opened_why = NO_WHY;
    m->notice_us = 0;
}

void v2g_monitor_init(v2g_monitor *m, const v2g_rating *rating)
{
    (void)memset(m, 0, sizeof *m);
    m->rating = *rating;
    for (size_t i = 0; i < V2G_SOURCES; i++) {
        const v2g_limit_ none = {UNBOUNDED, 0, V2G_FOREVER};
        m->limits[i] = none;
    }
    m->driven = NOTHING;
    m->contact.moves_until = NEVER_YET;
    m->stop_at = V2G_FOREVER;
    m->paused_stop_at = V2G_FOREVER;
    forget(m);
}

void v2g_monitor_begin(v2g_monitor *m, v2g_time now)
{
    if (m->authorised) {
        v2g_monitor_authorise(m, false, false, now);
    }
    if (m->paused) {
        m->paused_stop_at = m->stop_at;
        m->paused = false;
    }
    m->stop_at = V2G_FOREVER;
}

void v2g_monitor_forget_paused(v2g_monitor *m)
{
    if (m->paused) {
        m->stop_at = V2G_FOREVER;
    }
    m->paused_stop_at = V2G_FOREVER;
    m->paused = false;
}

void v2g_monitor_authorise(v2g_monitor *m, bool allowed, bool paused, v2g_time now)
{
    if (!allowed) {
        forget(m);
        if (!paused) {
            m->stop_at = V2G_FOREVER;
        }
        m->paused = paused;
    } else if (!m->authorised) {
        m->opened = false;
        flow_forget(&m->current);
        flow_forget(&m->power);
        flow_forget(&m->lines);
        for (size_t i = 0; i < (size_t)V2G_LASTING; i++) {
            excess_forget(&m->lasting[i]);
        }
        if (m->stop_at == V2G_FOREVER) {
            m->stop_at = m->paused_stop_at;
        }
        m->paused_stop_at = V2G_FOREVER;
        m->paused = false;
    }
    m->authorised = allowed;
    look(m, now);
}

void v2g_monitor_stop(v2g_monitor *m, v2g_time now)
{
    if (m->stop_at == V2G_FOREVER) {
        m->stop_at = after(now, m->rating.stop_us);
    }
    look(m, now);
}

void v2g_monitor_fault(v2g_monitor *m, uint8_t fault, bool active, v2g_time now)
{
    size_t at = 0;
    while (at < m->fault_count && m->faults[at] != fault) {
        at++;
    }
    if (fault >= V2G_FAULTS) {
        m->bad_input = true;
    } else if (active && at == m->fault_count) {
        m->faults[at] = fault; /* there is room: each number is there once */
        m->fault_count++;
    } else if (!active && at < m->fault_count) {
        m->fault_count--;
        for (; at < m->fault_count; at++) {
            m->faults[at] = m->faults[at + 1u];
        }
    }
    look(m, now);
}

static void enter(v2g_monitor *m, v2g_phase phase, v2g_time now)
{
    const v2g_phase before = m->phase;
    m->phase = phase;
    m->power_until = 0;
    m->closed_until = 0;
    if (phase == V2G_VOLTAGE && before != V2G_VOLTAGE) {
        m->voltage_until = after(now, m->rating.voltage_us);
    } else if (phase == V2G_POWER && before == V2G_VOLTAGE) {
        m->match_until = after(now, MATCH_US);
        m->matched = m->target_mv != 0 && near(m, m->target_mv);
    } else if (phase == V2G_IDLE) {
        m->target_mv = 0;
        m->matched = true;
    }
}

void v2g_monitor_request(v2g_monitor *m, const v2g_request *request, v2g_time now)
{
    if ((request->has & V2G_HAS_BEARS) != 0u) {
        if (request->bears.voltage_mv < m->bears.voltage_mv) {
            m->before_mv = m->bears.voltage_mv;
            m->before_until = after(now, m->rating.grace_us);
        }
        m->bears = request->bears;
    }
    if ((request->has & V2G_HAS_READY) != 0u) {
        m->ready = request->ready;
    }
    if ((request->has & V2G_HAS_NOTICE) != 0u) {
        m->notice_us = request->notice_us;
    }
    if ((request->has & V2G_HAS_TARGET) != 0u && request->target_mv != m->target_mv) {
        m->target_mv = request->target_mv;
        m->matched = false;
    }
    if ((request->has & V2G_HAS_PHASE) != 0u && !(request->phase == V2G_REST && m->phase != V2G_POWER)) {
        enter(m, request->phase, now);
    }
    if (request->power_us != 0) {
        m->power_until = after(now, request->power_us);
    }
    if (request->closed_us != 0) {
        m->closed_until = after(now, request->closed_us);
    }
}

void v2g_monitor_limit(v2g_monitor *m, uint8_t source, const v2g_output *most, v2g_time from, v2g_time until,
                       v2g_time now)
{
    if (source >= V2G_SOURCES) {
        m->bad_input = true;
    } else {
        const v2g_limit_ limit = {*most, from, until};
        m->limits[source] = limit;
    }
    look(m, now);
}

void v2g_monitor_discharge(v2g_monitor *m, v2g_discharge rule, v2g_time now)
{
    m->discharge = rule;
    m->signed_w = 0;
    m->signed_until = 0;
    look(m, now);
}

void v2g_monitor_signed(v2g_monitor *m, int32_t power_w, v2g_time until, v2g_time now)
{
    m->signed_w = power_w;
    m->signed_until = until;
    look(m, now);
}

void v2g_monitor_signed_less(v2g_monitor *m, int32_t power_w, v2g_time until, v2g_time now)
{
    v2g_monitor_signed(m, min32(m->signed_w, power_w), min64(m->signed_until, until), now);
}

void v2g_monitor_drive(v2g_monitor *m, v2g_output *output, v2g_time now)
{
    const allowed_now allowed = allowed_at(m, now);
    const v2g_output most = noticed_later(m, &allowed) ? m->bears : allowed.output;
    const v2g_output passed = allowed.connected ? within(*output, most) : NOTHING;
    if (!same(passed, m->driven)) {
        m->driven = passed;
        if (same(within(passed, allowed.output), passed)) { /* the session has followed */
            excess_forget(&m->lasting[V2G_LASTS_DRIVEN]);
        }
    }
    v2g_output named = *output;
    named.charge_ma = named.charge_ma >= V2G_UNBOUNDED ? passed.charge_ma : named.charge_ma;
    named.discharge_ma = named.discharge_ma >= V2G_UNBOUNDED ? passed.discharge_ma : named.discharge_ma;
    if (!same(passed, named)) {
        say_lower(m, allowed.why, passed);
    }
    *output = passed;
}

bool v2g_monitor_close(v2g_monitor *m, v2g_time now)
{
    const v2g_why_ why = why_apart(m, now);
    if (why.reason != V2G_LIMIT) {
        open_for_good(m, why, now);
        return false;
    }
    if (!m->contact.commanded) {
        contact_move(m, after(now, m->rating.close_us));
    }
    return true;
}

void v2g_monitor_open(v2g_monitor *m, v2g_time now)
{
    contact_open(m, now);
    excess_forget(&m->lasting[V2G_LASTS_CONNECTED]);
    look(m, now);
}

void v2g_monitor_feedback(v2g_monitor *m, bool closed, v2g_time now)
{
    contact_feedback(&m->contact, closed, now);
    look(m, now);
}

void v2g_monitor_measured(v2g_monitor *m, int32_t voltage_mv, int32_t current_ma, v2g_time now)
{
    m->voltage_mv = voltage_mv;
    m->current_ma = current_ma;
    if (m->target_mv != 0 && near(m, m->target_mv)) {
        m->matched = true;
    }
    if (m->contact.commanded && voltage_mv > floor_div(most_mv_at(m, now) * OVER_VOLTAGE_PERCENT, 100)) {
        open_because(m, V2G_OVER_VOLTAGE, now);
    }
    look(m, now);
}

void v2g_monitor_drawn(v2g_monitor *m, int32_t power_w, const int32_t line_ma[V2G_LINES], v2g_time now)
{
    m->power_w = power_w;
    m->has_lines = line_ma != NULL;
    for (size_t i = 0; i < V2G_LINES; i++) {
        m->line_ma[i] = line_ma != NULL ? line_ma[i] : 0;
    }
    look(m, now);
}

void v2g_monitor_tick(v2g_monitor *m, v2g_time now)
{
    look(m, now);
}

/* -- results */

bool v2g_monitor_next(v2g_monitor *m, v2g_verdict *verdict)
{
    if (m->verdict_count == 0u) {
        return false;
    }
    *verdict = m->verdicts[0];
    m->verdict_count--;
    for (size_t i = 0; i < m->verdict_count; i++) {
        m->verdicts[i] = m->verdicts[i + 1u];
    }
    return true;
}

bool v2g_monitor_live(const v2g_monitor *m)
{
    return m->contact.commanded || m->contact.closed || !same(m->driven, NOTHING);
}

const char *v2g_reason_word(v2g_reason reason)
{
    static const char *const words[V2G_REASONS] = {
        [V2G_LIMIT] = "limit",
        [V2G_FAULT] = "fault",
        [V2G_NOT_AUTHORISED] = "not_authorised",
        [V2G_STOP] = "stop",
        [V2G_NOT_REQUESTED] = "not_requested",
        [V2G_VOLTAGE_FOR_TOO_LONG] = "voltage_for_too_long",
        [V2G_PRE_CHARGE_NOT_REACHED] = "pre_charge_not_reached",
        [V2G_SILENT] = "silent",
        [V2G_ONLY_VOLTAGE] = "only_voltage",
        [V2G_ONLY_REST] = "only_rest",
        [V2G_LOOP_SILENT] = "loop_silent",
        [V2G_NOT_READY] = "not_ready",
        [V2G_CONTACTOR_WELDED] = "contactor_welded",
        [V2G_CONTACTOR_DROPPED] = "contactor_dropped",
        [V2G_OVER_VOLTAGE] = "over_voltage",
        [V2G_POWER_NOT_OBEYED] = "power_not_obeyed",
        [V2G_BAD_INPUT] = "bad_input",
    };
    return reason < V2G_REASONS ? words[reason] : "";
}

size_t v2g_monitor_size(void)
{
    return sizeof(v2g_monitor);
}
