/**
 * What an inbox is for, where others than the broker publish to it: `answers` of a request, `results` of jobs, and `streams`, the
 * way back to who serves a stream of messages. Each is a subject that others may be allowed, and no other of the same user's.
 */
export type InboxPurpose = "answers" | "results" | "streams";

/** Where every inbox begins. */
export const inboxRoot = "_INBOX";

/** The prefix under which a user of the broker hears answers, or the part of it under `rest`. */
export function inboxOf(user: string, rest?: InboxPurpose | ">"): string {
  return rest === undefined ? `${inboxRoot}.${user}` : `${inboxRoot}.${user}.${rest}`;
}
