/* SPDX-License-Identifier: Apache-2.0
 *
 * The safety monitor of a charger, for the processor of a control board: the rule of v2g/safety/charger.py, which is
 * its reference and documents it. The test tests/board/test_monitor.py compares both, step by step.
 *
 * No allocation, no floating point, no recursion, no global state, no library but <string.h>. Every loop is bounded by
 * a constant below. One caller at a time. `v2g_monitor` is opaque to users: only the functions below may change it.
 *
 * Powers W, currents mA, voltages mV, magnitudes unless stated; times us on one monotonic clock that starts at 0 or
 * above. V2G_FOREVER is a time that never comes.
 */
#ifndef V2G_BOARD_MONITOR_H
#define V2G_BOARD_MONITOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define V2G_FOREVER INT64_MAX
#define V2G_UNBOUNDED INT32_C(1000000000)

/* Sources of limits, and faults, are numbers below these; the firmware's own tables name them. */
#define V2G_SOURCES 16u
#define V2G_FAULTS 64u
/* Verdicts that can wait. No input has more than two. */
#define V2G_VERDICTS 4u

typedef int64_t v2g_time;

typedef enum { V2G_IDLE, V2G_VOLTAGE, V2G_POWER, V2G_REST } v2g_phase;

typedef enum { V2G_DISCHARGE_NONE, V2G_DISCHARGE_SIGNED, V2G_DISCHARGE_STANDARD } v2g_discharge;

/* Why; v2g_reason_word returns the word of v2g/safety/charger.py. */
typedef enum {
    V2G_LIMIT, /* only limits bound it */
    V2G_FAULT, /* of the hardware: `fault` says which */
    V2G_NOT_AUTHORISED,
    V2G_STOP,
    V2G_NOT_REQUESTED,
    V2G_VOLTAGE_FOR_TOO_LONG,
    V2G_PRE_CHARGE_NOT_REACHED,
    V2G_SILENT,
    V2G_ONLY_VOLTAGE,
    V2G_ONLY_REST,
    V2G_LOOP_SILENT,
    V2G_NOT_READY,
    V2G_CONTACTOR_WELDED,
    V2G_CONTACTOR_DROPPED,
    V2G_OVER_VOLTAGE,
    V2G_POWER_NOT_OBEYED,
    V2G_BAD_INPUT, /* the firmware passed a value out of range: nothing is allowed until the next v2g_monitor_init */
    V2G_REASONS
} v2g_reason;

typedef struct {
    int32_t charge_w;
    int32_t discharge_w;
    int32_t charge_ma;
    int32_t discharge_ma;
    int32_t voltage_mv;
} v2g_output;

/* The charger's maxima and reaction times; see ChargerRating. */
typedef struct {
    int32_t charge_w;
    int32_t discharge_w;
    int32_t charge_ma; /* with alternating current of each line conductor; V2G_UNBOUNDED: not bounded */
    int32_t discharge_ma;
    v2g_time follow_us;
    v2g_time excess_us;
    v2g_time open_us;
    v2g_time close_us;
    v2g_time grace_us;
    v2g_time stop_us;
    v2g_time voltage_us;
} v2g_rating;

/* The fields of a request that are present; the others keep their value. */
#define V2G_HAS_PHASE 1u
#define V2G_HAS_BEARS 2u
#define V2G_HAS_READY 4u
#define V2G_HAS_TARGET 8u
#define V2G_HAS_NOTICE 16u

/* A vehicle's message; see Request. */
typedef struct {
    uint32_t has;
    v2g_phase phase;
    v2g_time power_us;
    v2g_time closed_us;
    v2g_output bears;
    bool ready;
    int32_t target_mv;
    v2g_time notice_us;
} v2g_request;

/* Open: no output, and the contactor open, for the rest of the session. Otherwise lower the output to this. */
typedef struct {
    bool open;
    v2g_reason reason;
    uint8_t fault;
    v2g_output output;
} v2g_verdict;

typedef struct {
    v2g_output most;
    v2g_time from;
    v2g_time until;
} v2g_limit_;

typedef struct {
    v2g_reason reason;
    uint8_t fault;
} v2g_why_;

/* Of v2g/safety/excess.py: excess over time, the highest of a bound's values that may still be followed, and what has
 * flowed beyond the present one meanwhile. */
#define V2G_SLOTS 64u

typedef struct {
    int64_t level;
    int32_t weight;
    v2g_time at;
} v2g_excess_;

typedef struct {
    v2g_time end;
    int64_t value;
} v2g_past_;

typedef struct {
    int64_t value;
    v2g_past_ past[V2G_SLOTS + 2u]; /* the latest ends last */
    uint8_t count;
} v2g_highest_;

typedef struct {
    int64_t area;
    int64_t peak;
    int64_t rate;
    v2g_time at;
} v2g_lag_;

typedef struct {
    v2g_lag_ charge;
    v2g_lag_ discharge;
    v2g_excess_ excess;
} v2g_carried_;

/* Line conductors of alternating current, which have the same bounds. */
#define V2G_LINES 3u

typedef struct {
    v2g_highest_ most;
    v2g_highest_ least;
    v2g_carried_ carried[V2G_LINES]; /* the first one of what is no conductor */
} v2g_flow_;

typedef struct {
    bool commanded;
    bool closed;
    bool arrived;
    v2g_time moves_until;
    v2g_excess_ strays;
} v2g_contact_;

typedef enum { V2G_LASTS_CONNECTED, V2G_LASTS_DRIVEN, V2G_LASTS_VOLTAGE, V2G_LASTS_STRAY, V2G_LASTING } v2g_lasting_;

typedef struct {
    v2g_rating rating;
    v2g_limit_ limits[V2G_SOURCES];
    uint8_t faults[V2G_FAULTS]; /* in the order in which they began */
    uint8_t fault_count;
    v2g_verdict verdicts[V2G_VERDICTS];
    uint8_t verdict_count;
    v2g_output driven;
    v2g_contact_ contact;
    int32_t voltage_mv;
    int32_t current_ma;
    int32_t power_w;
    int32_t line_ma[V2G_LINES];
    bool has_lines;
    v2g_flow_ current;
    v2g_flow_ power;
    v2g_flow_ lines;
    v2g_excess_ lasting[V2G_LASTING];
    bool authorised;
    bool paused;
    v2g_time stop_at; /* V2G_FOREVER: none */
    v2g_time paused_stop_at;
    bool bad_input;
    /* of the session */
    v2g_phase phase;
    v2g_time power_until;
    v2g_time closed_until;
    v2g_time voltage_until;
    v2g_output bears;
    int64_t before_mv; /* the higher voltage of bears, until the session has followed a lower one */
    v2g_time before_until;
    bool ready;
    int32_t target_mv;
    bool matched;
    v2g_time match_until;
    v2g_discharge discharge;
    int32_t signed_w;
    v2g_time signed_until;
    bool opened;
    v2g_why_ opened_why;
    v2g_time notice_us;
} v2g_monitor;

/* -- two measurements of one flow; see v2g/safety/agreement.py */

#define V2G_SHOWN 120u

/* Errors of both, in parts per million of each reading, and W at a small power; how late the second one is. */
typedef struct {
    int32_t first_ppm;
    int32_t second_ppm;
    int32_t least_w;
    v2g_time late_us;
} v2g_errors;

typedef struct {
    v2g_time end;
    int64_t least;
    int64_t most;
} v2g_shown_;

typedef struct {
    v2g_errors errors;
    v2g_time slot_us;
    v2g_shown_ shown[V2G_SHOWN + 4u]; /* the latest is last */
    uint8_t count;
    bool begun;
    int64_t last_w;
    v2g_excess_ excess;
} v2g_agreement;

void v2g_agreement_init(v2g_agreement *a, const v2g_errors *errors);
/* Take both, W into the vehicle, several times a second; return whether they differ for too long, which is a fault for
 * v2g_monitor_fault. The second one was read at `read_at`, not after `now`; not `metered`: there is none. */
bool v2g_agreement_differ(v2g_agreement *a, int32_t first_w, bool metered, int32_t second_w, v2g_time read_at,
                          v2g_time now);
size_t v2g_agreement_size(void);

/* -- inputs; `now` never falls. After each, take the verdicts and execute them at once. */

void v2g_monitor_init(v2g_monitor *m, const v2g_rating *rating);
void v2g_monitor_begin(v2g_monitor *m, v2g_time now);
void v2g_monitor_forget_paused(v2g_monitor *m);
void v2g_monitor_authorise(v2g_monitor *m, bool allowed, bool paused, v2g_time now);
void v2g_monitor_stop(v2g_monitor *m, v2g_time now);
void v2g_monitor_fault(v2g_monitor *m, uint8_t fault, bool active, v2g_time now);
void v2g_monitor_request(v2g_monitor *m, const v2g_request *request, v2g_time now);
/* Discharge is allowed by this source from `from` until before `until`; charge is limited at all times. Powers, and
 * with alternating current the currents of each line conductor; the voltage is ignored. */
void v2g_monitor_limit(v2g_monitor *m, uint8_t source, const v2g_output *most, v2g_time from, v2g_time until,
                       v2g_time now);
void v2g_monitor_discharge(v2g_monitor *m, v2g_discharge rule, v2g_time now);
void v2g_monitor_signed(v2g_monitor *m, int32_t power_w, v2g_time until, v2g_time now);
void v2g_monitor_signed_less(v2g_monitor *m, int32_t power_w, v2g_time until, v2g_time now);
/* Replace a command by its permitted part. A current of V2G_UNBOUNDED and more is one that is not named. */
void v2g_monitor_drive(v2g_monitor *m, v2g_output *output, v2g_time now);
/* Return whether the contactor may close. */
bool v2g_monitor_close(v2g_monitor *m, v2g_time now);
void v2g_monitor_open(v2g_monitor *m, v2g_time now);
void v2g_monitor_feedback(v2g_monitor *m, bool closed, v2g_time now);
/* The output with direct current; current out of the vehicle is negative. */
void v2g_monitor_measured(v2g_monitor *m, int32_t voltage_mv, int32_t current_ma, v2g_time now);
/* The power with alternating current, or of a coil, and the current of each line conductor, NULL if it has none; out of
 * the vehicle is negative. */
void v2g_monitor_drawn(v2g_monitor *m, int32_t power_w, const int32_t line_ma[V2G_LINES], v2g_time now);
/* At least ten times a second. */
void v2g_monitor_tick(v2g_monitor *m, v2g_time now);

/* -- results */

/* Take the oldest verdict; return false if there is none. */
bool v2g_monitor_next(v2g_monitor *m, v2g_verdict *verdict);
/* Whether energy could flow. */
bool v2g_monitor_live(const v2g_monitor *m);
const char *v2g_reason_word(v2g_reason reason);
/* Memory of one monitor, for callers in other languages. */
size_t v2g_monitor_size(void);

#endif
