import { z } from 'zod';
import { ERROR_CODES, type ErrorCode, WardcastError } from '../base/errors.ts';
import { ROOT } from '../wire/topics.ts';
import { printFrame } from './swarm/frames.ts';

/**
 * Why a connection is refused, told to the other side as its last word. TLS 1.3 cannot: a client's certificate is judged after the client
 * thinks the handshake is done, and Node judges on both sides after it; without this the other side sees a bare close.
 * On MQTT the notice is a QoS 0 PUBLISH to `wardcast/1/refused`, from the broker's side behind a CONNACK with return code 5 (foreign clients
 * print that one); on http it is a 403 with a header, in the swarm a frame. It holds a code and a sentence for people, nothing is decided by it.
 */
const TOPIC = Buffer.from(`${ROOT}/refused`);
const CONNACK_NOT_AUTHORIZED = Buffer.from([0x20, 0x02, 0x00, 0x05]);
const MAX_MESSAGE = 500;
const Notice = z.object({ code: z.string().max(64), message: z.string().max(MAX_MESSAGE), remedy: z.string().max(MAX_MESSAGE).optional() });

/** The bytes a client sends instead of its CONNECT when it refuses the server. */
export function clientNotice(error: WardcastError): Buffer {
  const remedy = error.remedy?.slice(0, MAX_MESSAGE);
  const body = Buffer.from(JSON.stringify({ code: error.code, message: error.message.slice(0, MAX_MESSAGE), ...(remedy === undefined ? {} : { remedy }) }));
  const rest = Buffer.concat([Buffer.from([TOPIC.length >> 8, TOPIC.length & 0xff]), TOPIC, body]);
  return Buffer.concat([Buffer.from([0x30, ...lengthBytes(rest.length)]), rest]);
}

/** The bytes a server sends to an MQTT client instead of waiting for its CONNECT. */
export function serverNotice(error: WardcastError): Buffer {
  return Buffer.concat([CONNACK_NOT_AUTHORIZED, clientNotice(error)]);
}

/** The answer an http client gets whatever it asked. */
export function httpNotice(error: WardcastError): string {
  return `HTTP/1.1 403 Forbidden\r\nx-wardcast-refused: ${error.code}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`;
}

/** The last frame, in either direction. */
export function swarmNotice(error: WardcastError): Buffer {
  return printFrame({ type: 'refused', transfer: 0, code: error.code });
}

/** Reads either MQTT notice at the start of a stream; undefined when there is none. The words are the other side's: quoted in logs, never trusted. */
export function readNotice(bytes: Buffer): WardcastError | undefined {
  const packet = bytes.subarray(0, CONNACK_NOT_AUTHORIZED.length).equals(CONNACK_NOT_AUTHORIZED) ? bytes.subarray(CONNACK_NOT_AUTHORIZED.length) : bytes;
  const at = packet.indexOf(TOPIC);
  // Fixed header of 2 to 5 bytes and the topic's length before it.
  if (packet[0] !== 0x30 || at < 4 || at > 7) return undefined;
  try {
    const { code, message, remedy } = Notice.parse(JSON.parse(packet.subarray(at + TOPIC.length).toString()));
    return isErrorCode(code) ? new WardcastError(code, message, remedy === undefined ? {} : { remedy }) : undefined;
  } catch {
    return undefined;
  }
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERROR_CODES, code);
}

function lengthBytes(length: number): number[] {
  return length < 128 ? [length] : [(length & 0x7f) | 0x80, length >> 7];
}
