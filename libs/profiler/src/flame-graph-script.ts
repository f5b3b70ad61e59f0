/** What makes a flame graph interactive. Must not hold `]]>`. */
export const flameGraphScript = String.raw`'use strict';
`;
