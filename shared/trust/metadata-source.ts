/** Where signed metadata and its targets come from: the line, the LAN, a folder. Nothing it says is believed. */
export interface MetadataSource {
  /**
   * A TUF metadata file by name: `2.root.json`, `timestamp.json`, `5.snapshot.json`, `3.targets.json`, `7.assignment.json`, `4.release-viewer.json`.
   * Undefined: there is none. Stops reading after `maxBytes`.
   */
  metadata(name: string, options: FetchOptions): Promise<Buffer | undefined>;
  /** A bundle or manifest by the sha256 of its bytes. */
  target(sha256: string, options: FetchOptions): Promise<Buffer | undefined>;
}

export interface FetchOptions {
  readonly maxBytes: number;
  readonly signal?: AbortSignal | undefined;
}
