import type { Session } from 'node:inspector';

/**
 * A session of this thread with V8's inspector, which listens on nothing and stops nothing. Undefined in a Node.js built without an
 * inspector and under a permission model that forbids it. The caller disconnects it, which ends all that was started through it.
 */
export async function openInspectorSession(): Promise<Session | undefined> {
  try {
    const inspector = await import('node:inspector');
    const session = new inspector.Session();
    session.connect();
    return session;
  } catch {
    return undefined;
  }
}
