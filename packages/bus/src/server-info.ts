import type { ServerInfo as ClientServerInfo } from "nats";

/** What the broker is able to, by its version; 2.9.10 is the oldest to support. */
export interface ServerFeatures {
  /** Several filters on one consumer. */
  readonly multipleFilters: boolean;
  /** Stream and consumer metadata. */
  readonly metadata: boolean;
  /** A time to live on single messages. */
  readonly messageTtl: boolean;
  /** Message schedules. */
  readonly schedules: boolean;
}

export interface ServerInfo {
  readonly name: string;
  readonly version: string;
  readonly maxPayloadBytes: number;
  readonly features: ServerFeatures;
}

export function serverInfo(info: ClientServerInfo | undefined): ServerInfo {
  const version = info?.version ?? "0.0.0";
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const since = (least: number): boolean => major > 2 || (major === 2 && minor >= least);
  return {
    name: info?.server_name ?? "",
    version,
    maxPayloadBytes: info?.max_payload ?? 0,
    features: { multipleFilters: since(10), metadata: since(10), messageTtl: since(11), schedules: since(12) },
  };
}
