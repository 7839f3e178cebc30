import { byteSizeForms } from "@millrace/protocol";
import { z } from "zod";

/** Bytes, which people may write as a size (`64MiB`) in the environment, the file, on the command line and at run time. */
export function byteSetting(leastBytes: number, mostBytes: number = Number.MAX_SAFE_INTEGER) {
  return z
    .number({ error: ({ code }) => (code === "invalid_type" ? `must be ${byteSizeForms}` : undefined) })
    .int()
    .min(leastBytes)
    .max(mostBytes)
    .meta({ unit: "bytes" });
}
