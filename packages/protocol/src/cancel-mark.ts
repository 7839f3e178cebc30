/** That a run of a job is to be cancelled; in the bucket `cancel`, under the job's id. */
export interface CancelMark {
  /** This run and earlier ones, with all their attempts; a replay begins the next and is not meant. */
  readonly run: number;
  readonly reason: string;
  /** When the mark was made, Unix ms. */
  readonly atMs: number;
}

/** That a message is the second of a job that came in before; in the bucket `cancel`, under `placeMarkKey`. */
export interface PlaceMark {
  /** The job that both messages name. */
  readonly id: string;
  readonly atMs: number;
}

const placePrefix = "place/";
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** No job id has a slash. */
export function placeMarkKey(stream: string, seq: number): string {
  return `${placePrefix}${stream}/${seq}`;
}

export function encodeCancelMark(mark: CancelMark): Uint8Array {
  return encoder.encode(JSON.stringify(mark));
}

export function encodePlaceMark(mark: PlaceMark): Uint8Array {
  return encoder.encode(JSON.stringify(mark));
}

/** @returns undefined for a mark of a place, and for what is no mark */
export function decodeCancelMark(key: string, value: Uint8Array): CancelMark | undefined {
  if (key.startsWith(placePrefix)) return undefined;
  const { run, reason, atMs } = parse(value);
  return {
    run: typeof run === "number" ? run : 1,
    reason: typeof reason === "string" ? reason : "",
    atMs: typeof atMs === "number" ? atMs : 0,
  };
}

/** @returns undefined for a mark of a job */
export function decodePlaceMark(key: string, value: Uint8Array): PlaceMark | undefined {
  if (!key.startsWith(placePrefix)) return undefined;
  const { id, atMs } = parse(value);
  return { id: typeof id === "string" ? id : "", atMs: typeof atMs === "number" ? atMs : 0 };
}

function parse(value: Uint8Array): Record<string, unknown> {
  try {
    const parsed: unknown = JSON.parse(decoder.decode(value));
    return typeof parsed === "object" && parsed !== null ? { ...parsed } : {};
  } catch {
    return {};
  }
}
