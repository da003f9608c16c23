import { z } from 'zod';

/** How an object's bytes travel: as they are, or as many messaging products carry them, for comparison. */
export const Encoding = z.enum(['raw', 'json']);
export type Encoding = z.output<typeof Encoding>;

const Message = z.strictObject({ data: z.string() });
const isObject = (topic: string): boolean => topic.includes('/down/object/');

export function encode(topic: string, payload: Buffer): Buffer {
  return isObject(topic) ? Buffer.from(JSON.stringify({ data: payload.toString('base64') })) : payload;
}

export function decode(topic: string, payload: Buffer): Buffer {
  return isObject(topic) ? Buffer.from(Message.parse(JSON.parse(payload.toString('utf8'))).data, 'base64') : payload;
}
