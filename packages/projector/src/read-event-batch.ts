import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { EventBatchSchema, JobEventSchema, type EventKind, type JobEvent } from "@millrace/protocol";

/** An event without what the generated message class adds to it. */
export type BatchEvent = Omit<JobEvent, "$typeName" | "$unknown">;

export interface ReadBatch {
  readonly source: string;
  readonly events: BatchEvent[];
}

const empty = new Uint8Array(0);
// Numbers come from the generated descriptor, so that the contract is written down once.
const batchField = EventBatchSchema.field;
const sourceField = batchField.source.number;
const eventsField = batchField.events.number;
const fieldNames: (keyof BatchEvent | undefined)[] = [];
for (const field of JobEventSchema.fields) fieldNames[field.number] = field.localName as keyof BatchEvent;

/**
 * Decodes an EventBatch. The generated decoder, which goes by reflection, takes a few times as long; a property test
 * holds the two together.
 * @throws Error when the bytes are no EventBatch
 */
export function readEventBatch(bytes: Uint8Array): ReadBatch {
  const reader = new BinaryReader(bytes);
  const events: BatchEvent[] = [];
  let source = "";
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    if (number === sourceField && wireType === WireType.LengthDelimited) source = reader.string();
    else if (number === eventsField && wireType === WireType.LengthDelimited) events.push(readEvent(reader));
    else reader.skip(wireType, number);
  }
  return { source, events };
}

function readEvent(reader: BinaryReader): BatchEvent {
  const length = reader.uint32();
  const end = reader.pos + length;
  if (end > reader.len) throw new RangeError("premature EOF");
  const event: BatchEvent = {
    jobId: "",
    kind: 0,
    attempt: 0,
    queue: "",
    type: "",
    priority: 0,
    atMs: 0,
    startedAtMs: 0,
    submittedAtMs: 0,
    runUs: 0,
    result: empty,
    resultContentType: "",
    errorCode: "",
    errorMessage: "",
    errorRetryable: false,
    nextRunAtMs: 0,
    reason: "",
    maxAttempts: 0,
    traceparent: "",
    payload: empty,
    rawHeaders: "",
    breachResource: "",
    breachFigure: 0,
    breachLimit: 0,
    breachUnit: "",
    fuel: 0,
    plugin: "",
    run: 0,
    move: 0,
    owner: "",
    correlationId: "",
    messageSeq: 0,
  };
  while (reader.pos < end) {
    const [number, wireType] = reader.tag();
    const name = fieldNames[number];
    if (name === undefined) {
      reader.skip(wireType, number);
      continue;
    }
    switch (name) {
      case "kind":
        event.kind = reader.int32() as EventKind;
        break;
      case "priority":
      case "attempt":
      case "maxAttempts":
      case "run":
      case "move":
        event[name] = reader.uint32();
        break;
      case "atMs":
      case "startedAtMs":
      case "submittedAtMs":
      case "runUs":
      case "nextRunAtMs":
      case "breachFigure":
      case "breachLimit":
      case "fuel":
      case "messageSeq":
        event[name] = reader.double();
        break;
      case "result":
      case "payload":
        event[name] = reader.bytes();
        break;
      case "errorRetryable":
        event[name] = reader.bool();
        break;
      default:
        event[name] = reader.string();
    }
  }
  if (reader.pos !== end) throw new RangeError("an event ends inside one of its fields");
  return event;
}
