import { BusError, type Bus } from "@millrace/bus";
import { decodeJson, jobStream, priorityNames } from "@millrace/protocol";

/** In the bucket `consumers`, where no queue has a dot in its name. */
const keyPrefix = "broker.";
const encoder = new TextEncoder();

/**
 * Where each job log ended when this run of the broker was first seen by a worker: what lies below may have been acked to a run
 * before that was killed and forgot it. Kept on the broker, so that workers that start later need not doubt what came since. Before
 * the first run that a worker has seen, nothing was acked.
 * @throws BusError
 */
export async function logEndsAtRestart(bus: Bus): Promise<ReadonlyMap<string, number>> {
  const bucket = bus.kv("consumers");
  const key = keyPrefix + bus.serverId;
  const known = async () => (await bucket.get(key))?.value;
  const before = await known();
  if (before !== undefined) return decode(before);
  const isFirst = (await bucket.keys(`${keyPrefix}*`)).length === 0;
  const ends = await Promise.all(
    priorityNames.map(async (name) => {
      const stream = jobStream(name);
      return [stream, isFirst ? 0 : (await bus.streamState(stream)).lastSeq] as const;
    }),
  );
  try {
    await bucket.create(key, encoder.encode(JSON.stringify(Object.fromEntries(ends))));
  } catch (error) {
    if (!(error instanceof BusError) || error.code !== "already_exists") throw error;
    const others = await known();
    if (others !== undefined) return decode(others);
  }
  return new Map(ends);
}

function decode(value: Uint8Array): ReadonlyMap<string, number> {
  return new Map(Object.entries(decodeJson<Record<string, number>>(value)).map(([name, end]) => [name, Number(end)]));
}
