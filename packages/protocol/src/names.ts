/**
 * Names that travel in subjects: queue, job type, job id, owner.
 * A name has no `.`, `*`, `>` or white space, which NATS subjects give a meaning to.
 */

const QUEUE = /^[a-z0-9_-]{1,64}$/;
const TYPE = /^[A-Za-z0-9_-]{1,64}$/;
const ID = /^[A-Za-z0-9_-]{1,64}$/;
const OWNER = /^[A-Za-z0-9_-]{1,64}$/;
// A tag of a job has 64 characters, of which "export:" takes seven.
const TAGGED_EXPORT = /^[A-Za-z0-9_.:/=-]{1,57}$/;

export function isQueueName(text: string): boolean {
  return QUEUE.test(text);
}

export function isJobType(text: string): boolean {
  return TYPE.test(text);
}

/** A lone `-` is none: in a subject it says that the id is in a header. */
export function isJobId(text: string): boolean {
  return ID.test(text) && text !== "-";
}

/** Queues whose jobs call a plugin by its name: the job's type is the plugin, and a tag `export:<name>` says what is called. */
export const pluginQueues = { events: "plugin-events", tasks: "plugin-tasks" } as const;

/** Whether nobody but Millrace submits to the queue: a plugin takes for a fact what it hears there. */
export function isOwnQueue(queue: string): boolean {
  return queue === pluginQueues.events || queue === pluginQueues.tasks;
}

/** What ids begin with that Millrace gives by a rule. Others could foresee them: under one of theirs a job would not be told apart. */
export const ownIdPrefix = "_";

export function isOwnJobId(id: string): boolean {
  return id.startsWith(ownIdPrefix);
}

/** Whether a user's id can stand in a subject. */
export function isOwner(text: string): boolean {
  return OWNER.test(text);
}

/** Whether an export's name can stand in the tag that tells a job of an event or a schedule what to run. */
export function isTaggableExport(name: string): boolean {
  return TAGGED_EXPORT.test(name);
}
