import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface IssuedCertificate {
  readonly certFile: string;
  readonly keyFile: string;
}

/** An authority for one test; its files go with the folder. Needs the `openssl` command. */
export interface TestAuthority {
  readonly caFile: string;
  /** A certificate for a server on 127.0.0.1 or localhost, or for a client of that common name. */
  issue(commonName: string): Promise<IssuedCertificate>;
}

export async function makeAuthority(folder: string): Promise<TestAuthority> {
  const caFile = join(folder, 'ca.pem');
  const caKeyFile = join(folder, 'ca.key');
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  await run('openssl', ['req', '-x509', ...newKey, '-days', '2', '-subj', '/CN=binnacle test authority', '-keyout', caKeyFile, '-out', caFile]);
  let issued = 0;
  return {
    caFile,
    async issue(commonName) {
      const base = join(folder, `issued-${issued++}`);
      const [keyFile, requestFile, extensionFile, certFile] = [`${base}.key`, `${base}.csr`, `${base}.ext`, `${base}.pem`];
      await writeFile(extensionFile, 'subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n');
      await run('openssl', ['req', ...newKey, '-subj', `/CN=${commonName}`, '-keyout', keyFile, '-out', requestFile]);
      const signing = ['-CA', caFile, '-CAkey', caKeyFile, '-CAcreateserial', '-days', '2', '-extfile', extensionFile];
      await run('openssl', ['x509', '-req', '-in', requestFile, ...signing, '-out', certFile]);
      return { certFile, keyFile };
    },
  };
}
