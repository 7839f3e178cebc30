/*
 * Millrace's host functions for C, beside Extism's C PDK. ../README.md has types, units and errors. A millrace_address is a
 * block of Extism's host memory, 0 for none; its length comes from Extism's length(), its bytes from load_u8 and load_u64.
 */
#ifndef MILLRACE_H
#define MILLRACE_H

typedef unsigned long long millrace_address;

#define MILLRACE_IMPORT(module, name) __attribute__((import_module("millrace:host/" module), import_name(name))) extern

enum millrace_level { MILLRACE_TRACE, MILLRACE_DEBUG, MILLRACE_INFO, MILLRACE_WARN, MILLRACE_ERROR };

/* The job as JSON; {} outside any queue. */
MILLRACE_IMPORT("job", "context") millrace_address millrace_job_context(void);

MILLRACE_IMPORT("log", "write") void millrace_log_write(int level, millrace_address text);

/* Percent from 0 to 100; text may be 0. */
MILLRACE_IMPORT("progress", "report") void millrace_progress_report(double percent, millrace_address text);

/* Why the last function below has failed, as "CODE: message"; 0 when it has not. */
MILLRACE_IMPORT("error", "last") millrace_address millrace_error_last(void);

/* Request and answer are JSON: {method, url, headers} and {status, headers}. body may be 0. Returns 0 after a failure. */
MILLRACE_IMPORT("http", "request") millrace_address millrace_http_request(millrace_address request, millrace_address body);
/* The body of the last answer. */
MILLRACE_IMPORT("http", "last_body") millrace_address millrace_http_last_body(void);

/* Returns 0 when there is no such key, and after a failure. */
MILLRACE_IMPORT("kv", "get") millrace_address millrace_kv_get(millrace_address key);
/* ttl_ms 0 keeps the value. Returns 0, or 1 after a failure. */
MILLRACE_IMPORT("kv", "set")
int millrace_kv_set(millrace_address key, millrace_address value, unsigned long long ttl_ms);
MILLRACE_IMPORT("kv", "delete") int millrace_kv_delete(millrace_address key);
/* A JSON list of keys in ascending order; prefix may be 0. Returns 0 after a failure. */
MILLRACE_IMPORT("kv", "list") millrace_address millrace_kv_list(millrace_address prefix, int limit);

/* Returns 0 after a failure. */
MILLRACE_IMPORT("secrets", "get") millrace_address millrace_secrets_get(millrace_address name);

/* data is JSON. Returns the event's id, or 0 after a failure. */
MILLRACE_IMPORT("events", "publish") millrace_address millrace_events_publish(millrace_address name, millrace_address data);

/* request is JSON: {type, queue?, priority?, id?}. Returns the job's id, or 0 after a failure. */
MILLRACE_IMPORT("jobs", "submit") millrace_address millrace_jobs_submit(millrace_address request, millrace_address payload);

#endif
