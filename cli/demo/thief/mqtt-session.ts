import { connect as dial, type IClientOptions, type MqttClient } from 'mqtt';

/** Files and addresses a thief has: those of the device it is. */
export interface Tools {
  readonly host: string;
  readonly port: number;
  readonly key: string;
  readonly cert: string;
  readonly ca: string;
}

export interface Heard {
  readonly topic: string;
  readonly payload: Buffer;
}

/** Milliseconds until an answer counts as none. */
const PATIENCE = 5000;

/** A stock MQTT client in the hands of a thief: it retries nothing and believes nothing. */
export class MqttSession {
  readonly heard: Heard[] = [];
  readonly #client: MqttClient;
  #closed: string | undefined;

  private constructor(client: MqttClient) {
    this.#client = client;
    client.on('message', (topic, payload) => this.heard.push({ topic, payload }));
    client.on('close', () => {
      this.#closed ??= 'the connection was closed';
    });
    client.on('error', (error) => {
      this.#closed ??= error.message;
    });
  }

  /** Resolves with the session, or with the reason why there is none. */
  static open(tools: Tools, clientId: string, clean = true): Promise<MqttSession | string> {
    const options: IClientOptions = {
      protocol: 'mqtts',
      host: tools.host,
      port: tools.port,
      ca: tools.ca,
      // The thief does not care whose door it is.
      rejectUnauthorized: false,
      clientId,
      clean,
      keepalive: 60,
      reconnectPeriod: 0,
      connectTimeout: PATIENCE,
      protocolVersion: 4,
      ...(tools.key === '' ? {} : { key: tools.key, cert: tools.cert }),
    };
    return new Promise((resolve) => {
      let client: MqttClient;
      try {
        client = dial({ ...options, ALPNProtocols: ['mqtt'] });
      } catch (error) {
        resolve(error instanceof Error ? error.message : String(error));
        return;
      }
      const session = new MqttSession(client);
      const fail = (reason: string): void => {
        clearTimeout(timer);
        client.end(true);
        resolve(reason);
      };
      const timer = setTimeout(() => fail('no answer'), PATIENCE);
      client.once('connect', () => {
        clearTimeout(timer);
        resolve(session);
      });
      client.once('error', (error) => fail(error.message));
      client.once('close', () => setImmediate(() => fail(session.#closed ?? 'the connection was closed')));
    });
  }

  get closed(): string | undefined {
    return this.#closed;
  }

  /** One SUBSCRIBE packet with all filters; the answer is what SUBACK grants each of them (128: refused), or why there was none. */
  subscribe(filters: readonly string[]): Promise<readonly number[] | string> {
    return this.#within((resolve) => {
      const topics = Object.fromEntries(filters.map((filter) => [filter, { qos: 1 as const }]));
      this.#client.subscribe(topics, (error, _granted, packet) => {
        const codes = packet?.granted;
        if (codes !== undefined) resolve(codes.map(Number));
        else resolve(error?.message ?? this.#closed ?? 'no answer');
      });
    });
  }

  /** Resolves when it was acknowledged, with the reason when it was not. */
  publish(topic: string, payload: string): Promise<string | undefined> {
    return this.#within((resolve) => {
      this.#client.publish(topic, payload, { qos: 1 }, (error) => resolve(error === undefined || error === null ? undefined : error.message));
    });
  }

  /** Waits until a message satisfies `predicate`, or for `milliseconds`. */
  async hear(predicate: (heard: Heard) => boolean, milliseconds: number): Promise<Heard | undefined> {
    const end = performance.now() + milliseconds;
    for (;;) {
      const found = this.heard.find(predicate);
      if (found !== undefined || performance.now() > end || this.#closed !== undefined) return found;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  /** Says goodbye in form, so that a persistent session would be kept. */
  async leave(): Promise<void> {
    this.#client.removeAllListeners('error');
    this.#client.on('error', () => undefined);
    await this.#client.endAsync(this.#closed !== undefined).catch(() => undefined);
  }

  #within<T>(work: (resolve: (value: T | string) => void) => void): Promise<T | string> {
    return new Promise((resolve) => {
      if (this.#closed !== undefined) {
        resolve(this.#closed);
        return;
      }
      const timer = setTimeout(() => resolve('no answer'), PATIENCE);
      const done = (value: T | string): void => {
        clearTimeout(timer);
        resolve(value);
      };
      this.#client.once('close', () => done('the connection was closed'));
      work(done);
    });
  }
}
