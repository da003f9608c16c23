import type { Identity } from '../base/identity.ts';

/** The seam to MQTT: the embedded broker (its owner's side) and a client of any MQTT 3.1.1 broker are both a Broker. */

export interface Delivery {
  readonly topic: string;
  readonly payload: Buffer;
  /** Who said it, proven by certificate; only the embedded broker knows. */
  readonly from?: Identity;
  /** Call when it is durably handled: releases the acknowledgement to the sender (PUBACK) and room in the queue. */
  accept(): void;
}

export interface PublishOptions {
  /** 0: at most once (bulk, hints). 1: until acknowledged (default). */
  readonly qos?: 0 | 1;
  readonly signal?: AbortSignal | undefined;
}

export interface Broker {
  /** @throws CONNECTION_LOST when the connection breaks before the publish is acknowledged; ABORTED */
  publish(topic: string, payload: Buffer, options?: PublishOptions): Promise<void>;
  /** Bounded: a slow reader holds the senders back. Ends when the signal aborts or the broker closes. Survives reconnects. */
  subscribe(filters: readonly string[], options?: { signal?: AbortSignal | undefined }): AsyncIterable<Delivery>;
}

export type LinkState = 'connecting' | 'up' | 'down';

/** A client's connection to a broker, reconnecting by itself with full jitter until closed. */
export interface Link extends Broker {
  readonly state: LinkState;
  /** Called at every connect, after the subscriptions stand, and at every loss (with the coded reason). Returns the way to stop listening. */
  onState(listener: (state: LinkState, reason?: Error) => void): () => void;
  /** Bytes read from and written to the socket since the link was made, across reconnects. */
  traffic(): { readonly received: number; readonly sent: number };
  close(): Promise<void>;
}

/** A client's coming and going at the embedded broker. */
export interface Presence {
  readonly identity: Identity;
  readonly address: string;
  readonly connected: boolean;
}

export interface EmbeddedBroker extends Broker {
  /** Writes to one connected client, past all others, waiting for its socket to drain. @throws CONNECTION_LOST when it is not connected */
  send(to: Identity, topic: string, payload: Buffer, options?: PublishOptions): Promise<void>;
  connected(identity: Identity): boolean;
  onPresence(listener: (presence: Presence) => void): () => void;
  /** Told of every refused publish or subscription, for logs, counters and events. */
  onRefused(listener: (refusal: { readonly who: Identity; readonly topic: string; readonly code: string }) => void): () => void;
  /** Ends live connections, e.g. of a revoked identity. */
  disconnect(identity: Identity): void;
  close(): Promise<void>;
}
