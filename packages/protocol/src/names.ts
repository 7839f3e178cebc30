/**
 * Names that travel in subjects: queue, job type, job id.
 * A name has no `.`, `*`, `>` or white space, which NATS subjects give a meaning to.
 */

const QUEUE = /^[a-z0-9_-]{1,64}$/;
const TYPE = /^[A-Za-z0-9_-]{1,64}$/;
const ID = /^[A-Za-z0-9_-]{1,64}$/;

export function isQueueName(text: string): boolean {
  return QUEUE.test(text);
}

export function isJobType(text: string): boolean {
  return TYPE.test(text);
}

export function isJobId(text: string): boolean {
  return ID.test(text);
}
