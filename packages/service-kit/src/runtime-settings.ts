import { z } from "zod";
import { byteSetting } from "./byte-setting.ts";
import { withSizeRead } from "./config-setting.ts";

const rate = z.number().min(0.1).max(1_000_000);
const burst = z.number().int().min(1).max(10_000_000);
const atOnce = "how many at once after a pause";

/**
 * Settings that may be changed while the system runs, by name: one list for all processes, so that whoever keeps a new value
 * knows what it must be. A process that reads one takes it from here into its own schema. None is a secret.
 */
export const runtimeSettings = {
  logLevel: z
    .enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"])
    .default("info")
    .describe("The least severe lines that are logged"),
  registration: z
    .enum(["off", "invitation", "open"])
    .default("invitation")
    .describe("Whether people may add themselves: not at all, with an invitation, or whoever likes"),
  allowOrigins: z
    .array(z.string().min(1).max(512))
    .max(100)
    .optional()
    .describe(
      "Origins that browsers may call from, besides the gateway's own; loopback stands for this machine's on any port, * for all. Without identity loopback when left out, with identity none",
    ),
  identityRate: rate.default(20_000).describe("Calls per second of one user, over all gateways"),
  identityBurst: burst.default(40_000).describe(`Calls of one user: ${atOnce}`),
  addressRate: rate.default(20_000).describe("Calls per second from one address"),
  addressBurst: burst.default(40_000).describe(`Calls from one address: ${atOnce}`),
  strangerRate: rate
    .default(100)
    .describe(
      "Calls per second from one address that need no identity, such as signing in, or bring unknown credentials",
    ),
  strangerBurst: burst.default(500).describe(`The same: ${atOnce}`),
  jobRate: rate.default(50_000).describe("Jobs per second that one user may submit"),
  jobBurst: burst.default(500_000).describe(`Jobs that one user submits: ${atOnce}`),
  jobKibibyteRate: rate.default(262_144).describe("KiB of jobs per second that one user may submit"),
  jobKibibyteBurst: burst.default(1_048_576).describe(`KiB of jobs that one user submits: ${atOnce}`),
  maxConnectionsPerAddress: z
    .number()
    .int()
    .min(1)
    .max(1_000_000)
    .default(1_000)
    .describe("Connections from one address to both ports; not looked at behind proxies of ours"),
  quotaJobs: z
    .number()
    .int()
    .min(1)
    .max(1_000_000_000)
    .default(1_000_000)
    .describe("Jobs of one user that have not ended; more are refused"),
  quotaBytes: byteSetting(1, 2 ** 50)
    .default(4 * 2 ** 30)
    .describe("Bytes of their payloads; more are refused"),
  // A year, which those who check such trails ask for, and a month to do it in.
  auditRetentionDays: z
    .number()
    .int()
    .min(0)
    .max(36_500)
    .default(400)
    .describe("Days that entries of the audit trail are kept; 0 keeps them for ever"),
};

/** A value that does not fit is refused with the schema's own words. @returns undefined when there is no such setting */
export function checkRuntimeSetting(
  name: string,
  value: unknown,
): { readonly value: unknown } | { readonly problem: string } | undefined {
  const setting = Object.hasOwn(runtimeSettings, name)
    ? runtimeSettings[name as keyof typeof runtimeSettings]
    : undefined;
  if (setting === undefined) return undefined;
  const parsed = setting.safeParse(withSizeRead(setting, value));
  return parsed.success
    ? { value: parsed.data }
    : { problem: parsed.error.issues.map(({ message }) => message).join("; ") };
}
