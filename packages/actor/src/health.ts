/** What the registry says about one place in the tree. */
export interface Health {
  path: string;
  state: string;
  ok: boolean;
  detail?: string;
  restarts: number;
  /** Messages waiting. */
  mailbox: number;
  children: Health[];
}
