/** Of the platform; plugins may ask for a least one. */
export const version = "0.1.0";
