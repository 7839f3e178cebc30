/** Millrace's host functions for AssemblyScript, beside Extism's own PDK. ../README.md has types, units and errors. */
export { Events } from "./events";
export { HostError } from "./host-error";
export { Http, HttpRequest, HttpResponse } from "./http";
export { Job, JobContext } from "./job";
export { JobRequest, Jobs } from "./jobs";
export { JsonKind, JsonReader, JsonValue, quote, quoteAll } from "./json";
export { Kv } from "./kv";
export { Log, Severity } from "./log";
export { Progress } from "./progress";
export { Secrets } from "./secrets";
