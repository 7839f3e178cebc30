import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { jobErrorCodes, MillraceError, type JobErrorCode } from "@millrace/protocol";
import { readInput } from "../read-payload.ts";
import { writeOutput } from "../write-output.ts";
import type { LocalHttpAnswer, LocalWorld, SentEvent, SentJob } from "./local-world.ts";
import { toBytes } from "./local-world.ts";

/** How a call has to end. */
export interface Expectation {
  /** JSON when the plugin's output is JSON, else its text. */
  readonly output?: unknown;
  readonly outputBase64?: string;
  /** The message has to contain the one here. */
  readonly error?: { readonly code: JobErrorCode; readonly message: string };
  /** Left out: whatever it sends. */
  readonly events?: readonly SentEvent[];
  readonly jobs?: readonly SentJob[];
}

/** One recorded input, `tests/<name>.json`. */
export interface TestFile {
  readonly name: string;
  readonly path: string;
  readonly export: string;
  readonly input: Uint8Array;
  readonly world: LocalWorld;
  /** Undefined until `--update` has written it. */
  readonly expect: Expectation | undefined;
  /** As it stands in the file, for --update. */
  readonly source: Readonly<Record<string, unknown>>;
}

const fields: ReadonlySet<string> = new Set("export input inputBase64 secrets kv http expect".split(" "));
const expectFields: ReadonlySet<string> = new Set("output outputBase64 error events jobs".split(" "));

/** The tests of a project in the order of their names. @throws MillraceError invalid_argument for a file that is none */
export async function readTests(folder: string): Promise<TestFile[]> {
  const tests = join(folder, "tests");
  const names = await readdir(tests).catch(() => []);
  const files = names.filter((name) => name.endsWith(".json")).toSorted();
  return Promise.all(files.map((file) => readTest(join(tests, file), file.slice(0, -".json".length))));
}

export async function writeExpectation(test: TestFile, expect: Expectation): Promise<void> {
  await writeOutput(test.path, `${JSON.stringify({ ...test.source, expect }, null, 2)}\n`);
}

async function readTest(path: string, name: string): Promise<TestFile> {
  const wrong = (what: string, cause?: unknown) => new MillraceError("invalid_argument", `${path}: ${what}`, { cause });
  let source: unknown;
  try {
    source = JSON.parse(new TextDecoder().decode(await readInput(path)));
  } catch (cause) {
    throw wrong(cause instanceof Error ? cause.message : "is no JSON", cause);
  }
  if (!isRecord(source)) throw wrong("must be an object");
  const unknown = Object.keys(source).find((field) => !fields.has(field));
  if (unknown !== undefined) throw wrong(`${unknown} is not a field of a test: ${[...fields].join(", ")}`);
  const { export: exported, input, inputBase64, secrets = {}, kv = {}, http = [], expect } = source;
  if (typeof exported !== "string") throw wrong("export must name an exported function");
  if (typeof (inputBase64 ?? "") !== "string") throw wrong("inputBase64 must be text");
  if (!isTexts(secrets) || !isTexts(kv)) throw wrong("secrets and kv must map names to texts");
  if (!Array.isArray(http) || !http.every(isHttpAnswer))
    throw wrong("http must be a list of {method, url, status, headers, body}");
  if (expect !== undefined && !isExpectation(expect)) throw wrong(`expect must hold ${[...expectFields].join(", ")}`);
  return {
    name,
    path,
    export: exported,
    input: typeof inputBase64 === "string" ? Buffer.from(inputBase64, "base64") : toBytes(input ?? ""),
    world: { secrets, kv, http },
    expect,
    source,
  };
}

function isExpectation(value: unknown): value is Expectation {
  if (!isRecord(value) || !Object.keys(value).every((field) => expectFields.has(field))) return false;
  const { error, events = [], jobs = [], outputBase64 = "" } = value;
  if (typeof outputBase64 !== "string") return false;
  if (!Array.isArray(events) || !events.every((event) => isRecord(event) && typeof event["name"] === "string"))
    return false;
  if (!Array.isArray(jobs) || !jobs.every((job) => isRecord(job) && typeof job["type"] === "string")) return false;
  if (error === undefined) return true;
  return (
    isRecord(error) && jobErrorCodes.some((code) => code === error["code"]) && typeof error["message"] === "string"
  );
}

function isHttpAnswer(value: unknown): value is LocalHttpAnswer {
  if (!isRecord(value) || typeof value["url"] !== "string" || !isTexts(value["headers"] ?? {})) return false;
  return typeof (value["method"] ?? "GET") === "string" && Number.isInteger(value["status"] ?? 200);
}

function isTexts(value: unknown): value is Record<string, string> {
  return isRecord(value) && Object.values(value).every((text) => typeof text === "string");
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
