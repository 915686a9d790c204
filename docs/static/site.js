/* A page that is opened from a file may not read the others: the search lists what it finds without their words. */
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
