import type { HostCalls } from "./host-calls.ts";

/** A request that a plugin wrote as JSON; a text says why it is none. */
export function parseHttpRequest(text: string): HostCalls["http.request"]["ask"] | string {
  const value = parseObject(text);
  if (typeof value === "string") return value;
  // Extism's PDKs say header or headers.
  const { url, method = "GET", headers = value["header"] ?? {} } = value;
  if (typeof url !== "string") return "url must be text";
  if (typeof method !== "string") return "method must be text";
  if (!isRecord(headers)) return "headers must be an object of texts";
  const texts: Record<string, string> = {};
  for (const [name, header] of Object.entries(headers)) {
    if (typeof header !== "string") return `header ${name} must be text`;
    texts[name] = header;
  }
  return { url, method, headers: texts };
}

export function parseJobRequest(text: string): HostCalls["jobs.submit"]["ask"] | string {
  const value = parseObject(text);
  if (typeof value === "string") return value;
  const { type } = value;
  return typeof type === "string" ? { ...value, type } : "type must be text";
}

function parseObject(text: string): Record<string, unknown> | string {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : "not a JSON object";
  } catch (error) {
    return `not JSON: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
