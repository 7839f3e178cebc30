import { z } from "zod";

/**
 * Settings that may be changed while the system runs, by name: one list for all processes, so that whoever keeps a new value
 * knows what it must be. A process that reads one takes it from here into its own schema. None is a secret.
 */
export const runtimeSettings = {
  logLevel: z
    .enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"])
    .default("info")
    .describe("The least severe lines that are logged"),
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
  const parsed = setting.safeParse(value);
  return parsed.success
    ? { value: parsed.data }
    : { problem: parsed.error.issues.map(({ message }) => message).join("; ") };
}
