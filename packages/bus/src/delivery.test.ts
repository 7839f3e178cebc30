import type { Msg } from "nats";
import { expect, it } from "vitest";
import { Delivery } from "./delivery.ts";
import { Namespace } from "./namespace.ts";

/** As the client gives it: the reply is there as bytes too. */
function messageWith(reply: string): Msg {
  return { reply, _msg: { hdr: 0, reply: new TextEncoder().encode(reply) } } as unknown as Msg;
}

const place = { stream: "JOBS_HIGH", consumer: "w_emails", delivered: 2, seq: 31, consumerSeq: 17, pending: 5 };
const numbers = "2.31.17.1764429600123456789.5";

it.each([
  ["the first form", `$JS.ACK.JOBS_HIGH.w_emails.${numbers}`],
  ["with account, no domain", `$JS.ACK._.ACCOUNT.JOBS_HIGH.w_emails.${numbers}`],
  ["with domain and account, and a token more", `$JS.ACK.hub.ACCOUNT.JOBS_HIGH.w_emails.${numbers}.Zx81`],
])("reads its place from the subject of its ack: %s", (_form, reply) => {
  const delivery = new Delivery(messageWith(reply));
  expect(delivery).toMatchObject({ ...place, timestampMs: 1764429600123 });
  // An ack goes back as it came.
  expect(delivery.reply).toBe(reply);
});

it("calls its stream by our own name", () => {
  const namespace = Namespace.of({ prefix: "acme" });
  const delivery = new Delivery(messageWith(`$JS.ACK.hub.ACCOUNT.ACME_JOBS_HIGH.w_emails.${numbers}.Zx81`), namespace);
  expect(delivery).toMatchObject(place);
  expect(namespace?.published(delivery.reply)).toBe(delivery.reply);
});
