import https, { type RequestOptions } from 'node:https';
import type { ConnectionOptions } from 'node:tls';
import type { Tools } from './mqtt-session.ts';

export interface Answer {
  /** 0: there was no answer. */
  readonly status: number;
  readonly body: Buffer;
  readonly reason: string;
}

/** Milliseconds until an answer counts as none. */
const PATIENCE = 5000;

/** One https request with somebody's certificate (or none). Never throws: a thief takes every answer. */
export function ask(tools: Tools, path: string, body?: Buffer): Promise<Answer> {
  const options: RequestOptions & ConnectionOptions = {
    host: tools.host,
    port: tools.port,
    path,
    method: body === undefined ? 'GET' : 'POST',
    ca: tools.ca,
    // The thief does not care whose door it is.
    rejectUnauthorized: false,
    ALPNProtocols: ['http/1.1'],
    agent: false,
    timeout: PATIENCE,
    headers: body === undefined ? {} : { 'content-type': 'application/octet-stream', 'content-length': body.length },
    ...(tools.key === '' ? {} : { key: tools.key, cert: tools.cert }),
  };
  return new Promise((resolve) => {
    const fail = (error: Error): void => resolve({ status: 0, body: Buffer.alloc(0), reason: error.message });
    try {
      const request = https.request(options, (response) => {
        const parts: Buffer[] = [];
        const notice = response.headers['x-wardcast-refused'];
        response.on('data', (part: Buffer) => parts.push(part));
        response.on('error', fail);
        response.on('end', () => {
          const status = response.statusCode ?? 0;
          resolve({ status, body: Buffer.concat(parts), reason: `HTTP ${status}${typeof notice === 'string' ? ` ${notice}` : ''}` });
        });
      });
      request.on('timeout', () => request.destroy(new Error('no answer')));
      request.on('error', fail);
      request.end(body);
    } catch (error) {
      fail(error instanceof Error ? error : new Error(String(error)));
    }
  });
}
