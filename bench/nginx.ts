import { access, mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { runToEnd, type Server, startProgram } from './child.ts';

export interface NginxOptions {
  readonly directory: string;
  /** The folder it serves. */
  readonly root: string;
  /** Its key and certificate: a credentials folder. */
  readonly credentials: string;
  readonly host: string;
  readonly port: number;
  /** Words before the command, to run it elsewhere. */
  readonly on?: (command: readonly string[]) => string[];
}

const asItIs = (command: readonly string[]): string[] => [...command];

/** nginx with TLS 1.3 as Debian builds it, in one process so that its CPU time can be read. */
export async function startNginx({ directory, root, credentials, host, port, on = asItIs }: NginxOptions): Promise<Server> {
  const at = (name: string): string => path.join(directory, name);
  await mkdir(directory, { recursive: true });
  await rm(at('nginx.pid'), { force: true });
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${at(name)};`).join(' ');
  await writeFile(
    at('nginx.conf'),
    `user root root; daemon off; master_process off; pid ${at('nginx.pid')}; error_log stderr error;
events { worker_connections 64; }
http {
  access_log off; sendfile on; tcp_nopush on; ${temporary}
  server {
    listen ${host}:${port} ssl; root ${root};
    ssl_certificate ${credentials}/chain.pem; ssl_certificate_key ${credentials}/key.pem; ssl_protocols TLSv1.3;
  }
}
`,
  );
  const ready = (): Promise<boolean> =>
    access(at('nginx.pid')).then(
      () => true,
      () => false,
    );
  return startProgram(on(['nginx', '-e', 'stderr', '-p', directory, '-c', at('nginx.conf')]), ready);
}

const Times = z.object({ time_total: z.number(), time_pretransfer: z.number(), size_download: z.number() });

export interface Download {
  /** Seconds from the first packet, and from when the connection stood. */
  readonly total: number;
  readonly transfer: number;
  readonly bytes: number;
}

/** One https download to a file with curl. */
export async function download(
  url: string,
  o: { root: string; out: string; signal: AbortSignal; on?: (command: readonly string[]) => string[] },
): Promise<Download> {
  const command = [
    'curl',
    '--silent',
    '--show-error',
    '--fail',
    '--http1.1',
    '--tlsv1.3',
    '--cacert',
    o.root,
    '--output',
    o.out,
    '--write-out',
    '%{json}',
    url,
  ];
  const times = Times.parse(await runToEnd((o.on ?? asItIs)(command), o.signal));
  return { total: times.time_total, transfer: times.time_total - times.time_pretransfer, bytes: times.size_download };
}
