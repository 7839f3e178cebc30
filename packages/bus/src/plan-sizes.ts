export interface SizedStream {
  readonly name: string;
  readonly maxBytes: number;
  /** As somebody asked for it: never made smaller. */
  readonly given: boolean;
  /** Buckets hold little, and the system does not run without them: logs give way first. */
  readonly kind: "log" | "bucket";
}

/** Below it a stream holds next to nothing. */
export const leastStreamBytes = 1 << 20;
/** Logs shrink to this share of what they should have before buckets do. */
const leastLogShare = 1 / 16;

/**
 * How large new streams may be so that all of them together fit: as they should be where there is room, else the logs smaller, all by
 * the same share; on a very small disk the buckets too.
 * @returns bytes by name
 */
export function planSizes(streams: readonly SizedStream[], budgetBytes: number): Map<string, number> {
  const total = (some: readonly SizedStream[]): number => some.reduce((sum, { maxBytes }) => sum + maxBytes, 0);
  const elastic = streams.filter(({ given }) => !given);
  const logs = elastic.filter(({ kind }) => kind === "log");
  const buckets = elastic.filter(({ kind }) => kind === "bucket");
  const budget = Math.max(0, budgetBytes - total(streams.filter(({ given }) => given)));
  const leastOfBoth = total(buckets) + total(logs) * leastLogShare;
  const bucketShare = share(budget, leastOfBoth);
  const logShare = bucketShare < 1 ? bucketShare * leastLogShare : share(budget - total(buckets), total(logs));
  const shareOf = ({ given, kind }: SizedStream): number => (given ? 1 : kind === "log" ? logShare : bucketShare);
  return new Map(
    streams.map((stream) => {
      const share = shareOf(stream);
      const least = Math.min(stream.maxBytes, leastStreamBytes);
      return [stream.name, share === 1 ? stream.maxBytes : Math.max(least, Math.floor(stream.maxBytes * share))];
    }),
  );
}

function share(of: number, whole: number): number {
  return whole === 0 ? 1 : Math.min(1, Math.max(0, of / whole));
}
