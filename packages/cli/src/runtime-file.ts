import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { originOf } from "./credentials/origin-of.ts";

/** Where a system that runs on this machine is reached. */
export interface RuntimeFile {
  readonly natsUrl: string;
  readonly httpUrl: string;
}

/** Written by a running system into its data folder. */
const fileName = "runtime.json";
const defaultDataDir = resolve(import.meta.dirname, "../../../.millrace/data");
const defaultCacheDir = resolve(import.meta.dirname, "../../../.millrace/cache");

/** The data folder of the system on this machine. */
export function runtimeDataDir(env: Readonly<Record<string, string | undefined>>): string {
  return env["MILLRACE_DATA_DIR"] || defaultDataDir;
}

/** Where that system keeps a nats-server that had to be fetched. */
export function runtimeCacheDir(env: Readonly<Record<string, string | undefined>>): string {
  return env["MILLRACE_CACHE_DIR"] || defaultCacheDir;
}

/** @returns undefined when no system has written it, or it cannot be read */
export async function readRuntimeFile(
  env: Readonly<Record<string, string | undefined>>,
): Promise<RuntimeFile | undefined> {
  const path = join(runtimeDataDir(env), fileName);
  try {
    const value: unknown = JSON.parse(await readFile(path, "utf8"));
    if (typeof value !== "object" || value === null) return undefined;
    const { natsUrl, httpUrl } = value as Partial<Record<keyof RuntimeFile, unknown>>;
    return typeof natsUrl === "string" && typeof httpUrl === "string" ? { natsUrl, httpUrl } : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The NATS server of the system behind `baseUrl`: `NATS_URL`, or else what that system has written on this machine.
 */
export async function findNatsUrl(
  env: Readonly<Record<string, string | undefined>>,
  baseUrl: string,
): Promise<string | undefined> {
  // What the commands publish has no prefix.
  if (env["MILLRACE_NATS_PREFIX"] || env["MILLRACE_NATS_DOMAIN"]) return undefined;
  if (env["NATS_URL"]) return env["NATS_URL"];
  const runtime = await readRuntimeFile(env);
  // A file of another system must not lead our jobs there.
  return runtime !== undefined && originOf(runtime.httpUrl) === originOf(baseUrl)
    ? runtime.natsUrl || undefined
    : undefined;
}
