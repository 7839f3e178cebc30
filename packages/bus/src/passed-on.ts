import type { BusMessage } from "./bus-message.ts";

/**
 * Whether JetStream sent this message, and not who may publish on the subject. The broker holds nobody to a reply subject: who
 * may pull or get a stored message may name any subject for the answer, so that what was stored would come in as a command or a
 * call. A pulled message keeps the subject it was stored under; one that was got has the header of its stream.
 */
export function passedOn(message: BusMessage, subscribed: string): boolean {
  const wild = subscribed.search(/[*>]/);
  const under = wild < 0 ? message.subject === subscribed : message.subject.startsWith(subscribed.slice(0, wild));
  return !under || (message.headerBytes.length > 0 && message.header("Nats-Stream") !== undefined);
}
