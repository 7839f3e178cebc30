/** A place in EVENTS: the message, and the event within its batch. */
export interface EventPosition {
  readonly seq: number;
  readonly index: number;
}

export function formatPosition({ seq, index }: EventPosition): string {
  return `${seq}.${index}`;
}

/** @returns undefined when the text is no position */
export function parsePosition(text: string): EventPosition | undefined {
  const match = /^(\d{1,15})\.(\d{1,9})$/.exec(text);
  return match === null ? undefined : { seq: Number(match[1]), index: Number(match[2]) };
}
