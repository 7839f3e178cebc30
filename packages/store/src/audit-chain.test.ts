import fc from "fast-check";
import { expect, it } from "vitest";
import { chainHash, chainStart, endChain, followChain, type AuditRecord, type ChainedRecord } from "./audit-chain.ts";

const text = fc.string({ unit: "binary", maxLength: 12 });
const record = fc.record({
  atMs: fc.integer({ min: 0, max: 4e12 }),
  id: text,
  userId: text,
  email: text,
  tokenId: text,
  address: text,
  door: text,
  action: text,
  object: text,
  result: text,
  requestId: text,
});
type Unplaced = Omit<AuditRecord, "seq">;
const fields = "atMs id userId email tokenId address door action object result requestId".split(
  " ",
) as (keyof Unplaced)[];

function chain(records: readonly Unplaced[]): ChainedRecord[] {
  let hash = chainStart;
  return records.map((one, index) => {
    const placed = { ...one, seq: index + 1 };
    hash = chainHash(hash, placed);
    return { ...placed, hash };
  });
}

const trail = fc.array(record, { minLength: 1, maxLength: 12 }).map(chain);

/** A trail, a place in it, and what was at its end. */
const placed = trail.chain((records) => fc.record({ records: fc.constant(records), at: fc.nat(records.length - 1) }));

function check(records: readonly ChainedRecord[], end: ChainedRecord | undefined): number | undefined {
  const start = { seq: 0, hash: chainStart };
  return endChain(followChain(start, records), end ?? start).broken?.seq;
}

it("a trail that nobody touched is intact, read in pieces of any size", () => {
  fc.assert(
    fc.property(trail, fc.integer({ min: 1, max: 5 }), (records, size) => {
      let at = followChain({ seq: 0, hash: chainStart }, []);
      for (let from = 0; from < records.length; from += size) at = followChain(at, records.slice(from, from + size));
      expect(endChain(at, records.at(-1)!)).toEqual({ seq: records.length, hash: records.at(-1)!.hash });
    }),
  );
});

it("a change of any field shows at its entry", () => {
  fc.assert(
    fc.property(placed, fc.constantFrom(...fields), record, ({ records, at }, field, other) => {
      fc.pre(records[at]![field] !== other[field]);
      const changed = records.with(at, { ...records[at]!, [field]: other[field] });
      expect(check(changed, records.at(-1))).toBe(at + 1);
    }),
  );
});

it("a change that comes with a hash of its own shows at the entry after it, or at the end", () => {
  fc.assert(
    fc.property(placed, text, ({ records, at }, object) => {
      const old = records[at]!;
      fc.pre(old.object !== object);
      const forged = { ...old, object };
      const hash = chainHash(records[at - 1]?.hash ?? chainStart, forged);
      const changed = records.with(at, { ...forged, hash });
      expect(check(changed, records.at(-1))).toBe(Math.min(at + 2, records.length));
    }),
  );
});

it("an entry that is missing shows, wherever it was", () => {
  fc.assert(
    fc.property(placed, ({ records, at }) => {
      expect(check(records.toSpliced(at, 1), records.at(-1))).toBe(at + 1);
      // Renumbered, so that no gap is seen.
      const closed = records.toSpliced(at, 1).map((one, index) => ({ ...one, seq: index + 1 }));
      expect(check(closed, records.at(-1))).toBe(at + 1);
    }),
  );
});

it("two entries that changed places show", () => {
  fc.assert(
    fc.property(placed, fc.nat(), ({ records, at }, step) => {
      const to = step % records.length;
      const [first, second] = [Math.min(at, to), Math.max(at, to)];
      fc.pre(first !== second);
      const [a, b] = [records[first]!, records[second]!];
      const swapped = records.with(first, { ...b, seq: a.seq }).with(second, { ...a, seq: b.seq });
      expect(check(swapped, records.at(-1))).toBe(first + 1);
    }),
  );
});

it("an entry that was put in shows, at the end too", () => {
  fc.assert(
    fc.property(placed, record, ({ records, at }, added) => {
      const seq = at + 2;
      const hash = chainHash(records[at]!.hash, { ...added, seq });
      const rest = records.slice(at + 1).map((one) => ({ ...one, seq: one.seq + 1 }));
      const inserted = [...records.slice(0, at + 1), { ...added, seq, hash }, ...rest];
      const broken = check(inserted, records.at(-1));
      expect(broken).toBe(rest.length === 0 ? seq : seq + 1);
    }),
  );
});
