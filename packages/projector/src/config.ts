/** How the projector runs. */
export interface ProjectorConfig {
  /** Whose cursor it moves; two projectors of one name take turns, and write nothing twice. */
  readonly name: string;
  /** Rows of one transaction, about; as many as this only come together when far behind. */
  readonly rowsPerWrite: number;
  /** Bytes of messages that may wait for one transaction, about. */
  readonly bytesPerWrite: number;
}

export const defaultProjectorConfig: ProjectorConfig = { name: "jobs", rowsPerWrite: 20_000, bytesPerWrite: 32 << 20 };
