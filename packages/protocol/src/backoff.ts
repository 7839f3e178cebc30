/** How long a failed attempt waits: `base · 2^(n-1)`, `base · n` or `base`, at most `maxMs`, with random spread. */
export interface BackoffPolicy {
  readonly kind: "exponential" | "linear" | "fixed";
  readonly baseMs: number;
  readonly maxMs: number;
  /** 0..1: the share of the delay that is random, to both sides. */
  readonly jitter: number;
}

export const defaultBackoff: BackoffPolicy = { kind: "exponential", baseMs: 1000, maxMs: 3_600_000, jitter: 0.2 };

/**
 * Delay in ms before the next attempt.
 * @param failures attempts that failed so far, from 1
 * @param random a number in [0, 1)
 */
export function backoffDelayMs(policy: BackoffPolicy, failures: number, random: number): number {
  const n = Math.max(1, failures);
  let delay = policy.baseMs;
  if (policy.kind === "linear") delay = policy.baseMs * n;
  // 2^52 ms is beyond any bound, so the exponent stops where doubles stay exact.
  else if (policy.kind === "exponential") delay = policy.baseMs * 2 ** Math.min(n - 1, 52);
  const bounded = Math.min(delay, policy.maxMs);
  const spread = bounded * policy.jitter;
  return Math.max(0, Math.min(policy.maxMs, Math.round(bounded - spread + 2 * spread * random)));
}

const pattern = /^(exponential|linear|fixed)((?:;(?:base|max|jitter)=[0-9.]+)*)$/;

/**
 * Reads the `Millrace-Backoff` header: `exponential;base=1000;max=60000;jitter=0.2`; what is left out has its default.
 * @returns undefined when the text has another form
 */
export function parseBackoff(text: string): BackoffPolicy | undefined {
  const match = pattern.exec(text);
  if (match === null) return undefined;
  const values = { base: defaultBackoff.baseMs, max: defaultBackoff.maxMs, jitter: defaultBackoff.jitter };
  for (const part of (match[2] ?? "").split(";")) {
    if (part === "") continue;
    const [key, raw] = part.split("=") as [keyof typeof values, string];
    const value = Number(raw);
    if (!Number.isFinite(value)) return undefined;
    values[key] = value;
  }
  if (values.jitter > 1 || values.base > 86_400_000 || values.max > 604_800_000) return undefined;
  return { kind: match[1] as BackoffPolicy["kind"], baseMs: values.base, maxMs: values.max, jitter: values.jitter };
}

export function formatBackoff(policy: BackoffPolicy): string {
  return `${policy.kind};base=${policy.baseMs};max=${policy.maxMs};jitter=${policy.jitter}`;
}
