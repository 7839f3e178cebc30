import { InvalidArgumentError } from "commander";
import { byteSizeForms, JobState, parseByteSize, priorityNames, stateName } from "@millrace/protocol";

/** Parsers of option values; commander adds which option was wrong. */

export function wholeNumber(text: string): number {
  if (!/^[0-9]{1,9}$/.test(text)) throw new InvalidArgumentError("It must be a whole number.");
  return Number(text);
}

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `500ms`, `30s`, `5m`, `2h`, `1d`; a bare number is ms. */
export function duration(text: string): number {
  const match = /^(\d{1,9}(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text);
  if (match === null) throw new InvalidArgumentError("It must be a duration such as 500ms, 30s, 5m, 2h or 1d.");
  return Math.round(Number(match[1]) * (units[match[2] ?? "ms"] ?? 1));
}

/** RFC 3339, or `+` and a duration from here on. */
export function instant(text: string): Date {
  if (text.startsWith("+")) return new Date(Date.now() + duration(text.slice(1)));
  const date = new Date(text);
  if (/^\d{4}-\d\d-\d\d/.test(text) && !Number.isNaN(date.getTime())) return date;
  throw new InvalidArgumentError("It must be a time such as 2030-01-31T12:00:00Z, or +10m.");
}

/** RFC 3339, or a duration that has passed since. */
export function pastInstant(text: string): Date {
  return /^\d{4}-/.test(text) ? instant(text) : new Date(Date.now() - duration(text));
}

export const priorityChoices = [...priorityNames];

const stateByName = new Map<string, JobState>(
  Object.values(JobState)
    .filter((state) => state !== JobState.UNSPECIFIED)
    .map((state) => [stateName(state), state]),
);

/** Collects `--state a --state b` and `--state a,b`. */
export function states(text: string, previous: readonly JobState[] = []): JobState[] {
  return [
    ...previous,
    ...text.split(",").map((word) => {
      const state = stateByName.get(word);
      if (state !== undefined) return state;
      throw new InvalidArgumentError(`It must be one of ${[...stateByName.keys()].join(", ")}.`);
    }),
  ];
}

export function collect(text: string, previous: readonly string[] = []): string[] {
  return [...previous, text];
}

const capabilityNames: ReadonlySet<string> = new Set(["http", "kv", "secrets", "events", "jobs", "all"]);

/** Collects `--grant http --grant kv` and `--grant http,kv`. */
export function grantNames(text: string, previous: readonly string[] = []): string[] {
  const names = text.split(",");
  const wrong = names.find((name) => !capabilityNames.has(name));
  if (wrong === undefined) return [...previous, ...names];
  throw new InvalidArgumentError(`${wrong} is not one of ${[...capabilityNames].join(", ")}.`);
}

/** 1 to 99, with or without a % sign. */
export function percent(text: string): number {
  const value = wholeNumber(text.replace(/ ?%$/, ""));
  if (value < 1 || value > 99) throw new InvalidArgumentError("It must be from 1 to 99.");
  return value;
}

/** 0 to 100, with or without a % sign. */
export function share(text: string): number {
  const value = wholeNumber(text.replace(/ ?%$/, ""));
  if (value > 100) throw new InvalidArgumentError("It must be from 0 to 100.");
  return value;
}

/** In bytes; see parseByteSize. */
export function byteSize(text: string): number {
  const bytes = parseByteSize(text);
  if (bytes === undefined) throw new InvalidArgumentError(`It must be ${byteSizeForms}.`);
  return bytes;
}

export function positive(text: string): number {
  const value = Number(text);
  if (!/^[0-9.]{1,16}$/.test(text) || !(value > 0)) throw new InvalidArgumentError("It must be a number above 0.");
  return value;
}
