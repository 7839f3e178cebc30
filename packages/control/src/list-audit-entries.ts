import { timestampMs, type Timestamp } from "@bufbuild/protobuf/wkt";
import type { AuditEntry, ListAuditEntriesRequest } from "@millrace/protocol";
import { entryOf } from "./audit-entry.ts";
import type { ControlContext } from "./control-context.ts";

export async function listAuditEntries(
  { store }: ControlContext,
  { after, before, pageSize, pageToken, ...filter }: ListAuditEntriesRequest,
): Promise<{ entries: AuditEntry[]; nextPageToken: string }> {
  const { records, nextPageToken } = await store.audit.list(
    { ...filter, ...time("afterMs", after), ...time("beforeMs", before) },
    { size: pageSize, token: pageToken },
  );
  return { entries: records.map((record) => entryOf(record, record.previous)), nextPageToken };
}

function time<K extends string>(key: K, at: Timestamp | undefined): Partial<Record<K, number>> {
  return at === undefined ? {} : ({ [key]: timestampMs(at) } as Record<K, number>);
}
