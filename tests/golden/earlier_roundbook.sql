-- `sqlite3 roundbook.db .dump` of a book that the version of 2026-11-22 21:10 (6525eaa) served, each call sent twice;
-- the mark was added, which a dump leaves out. Never edited: books of that version must open for ever.
pragma application_id = 1380076337;
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE stored_events (
    position integer primary key,
    stream text not null,
    version integer not null,
    topic text not null,
    state text not null,
    hash blob not null,
    unique (stream, version)
) strict;
INSERT INTO stored_events VALUES(1,'wallet/ann/USD',1,'WalletOpened','{"recorded_at":"2026-11-23T00:14:12.821895Z","user":"ann","currency":"USD","scale":2,"wallet_version":1}',X'24d644ac8eac8585ffe17d3c0cc5c31a01f5982a1a856aa50a706d582bf9b1a5');
INSERT INTO stored_events VALUES(2,'wallet/ann/USD',2,'DepositMade','{"recorded_at":"2026-11-23T00:14:12.831047Z","user":"ann","currency":"USD","scale":2,"wallet_version":2,"reference":"d-ann-USD","transaction_id":"d633bd8b-b50e-532f-995c-7abcdababa30","amount":100000,"cash_before":0,"cash_after":100000}',X'7b9a211f0e9c6535f6715cdeb3c2c70265956ee56c18d3aafd744a057662fda2');
INSERT INTO stored_events VALUES(3,'wallet/bob/USD',1,'WalletOpened','{"recorded_at":"2026-11-23T00:14:12.844855Z","user":"bob","currency":"USD","scale":2,"wallet_version":1}',X'eb61429bc1070e4f1da5e02fbc8331f91022ee033a7e7786d96cc1460f6c893b');
INSERT INTO stored_events VALUES(4,'wallet/bob/USD',2,'DepositMade','{"recorded_at":"2026-11-23T00:14:12.846730Z","user":"bob","currency":"USD","scale":2,"wallet_version":2,"reference":"d-bob-USD","transaction_id":"ef5c888b-abe1-5a3d-bfb2-f2a50548a651","amount":100000,"cash_before":0,"cash_after":100000}',X'ed787151a0e0c66eb47578c08ab42af9a54949ae2b7a9a581b08764b84f4f3f2');
INSERT INTO stored_events VALUES(5,'wallet/jo/JPY',1,'WalletOpened','{"recorded_at":"2026-11-23T00:14:12.848279Z","user":"jo","currency":"JPY","scale":0,"wallet_version":1}',X'd49cde8f73be7d1783aada058064225fd63c0b8d5318a0df7b72f1ca8e384a07');
INSERT INTO stored_events VALUES(6,'wallet/jo/JPY',2,'DepositMade','{"recorded_at":"2026-11-23T00:14:12.849865Z","user":"jo","currency":"JPY","scale":0,"wallet_version":2,"reference":"d-jo-JPY","transaction_id":"db3f3da4-a226-5cf8-801a-86106f495d4a","amount":1000,"cash_before":0,"cash_after":1000}',X'50459771d7f0308207361a3d13321a8c854fda44bb9794758c6965211d285f4c');
INSERT INTO stored_events VALUES(7,'wallet/ann/USD',3,'WithdrawalMade','{"recorded_at":"2026-11-23T00:14:12.851593Z","user":"ann","currency":"USD","scale":2,"wallet_version":3,"reference":"w1","transaction_id":"76e5775d-531b-5262-87aa-b71cbfcdd1c8","amount":1050,"cash_before":100000,"cash_after":98950}',X'808a6e2a7eedd40618f9f7527a4c84dfd6b69ed7e74c3d6ac36abb3256d783d2');
INSERT INTO stored_events VALUES(8,'round/LuckyMonaco/l1',1,'RoundOpened','{"recorded_at":"2026-11-23T00:14:12.854715Z","provider":"LuckyMonaco","round":"l1","user":"ann","currency":"USD","game":"g1"}',X'afee79e3f543e42d9f5dd1482c4f6b74dcd8ac21efdae36e1a000412290adfd3');
INSERT INTO stored_events VALUES(9,'round/LuckyMonaco/l1',2,'BetPlaced','{"recorded_at":"2026-11-23T00:14:12.854715Z","user":"ann","currency":"USD","scale":2,"wallet_version":4,"reference":"lb1","transaction_id":"0c10b79c-0ad8-53c9-9c54-5c7c1951607d","amount":10000,"cash_before":98950,"cash_after":88950,"provider":"LuckyMonaco","round":"l1","game":"g1","said":{"uuid":"u1","session":"s1","game_name":"game","provider_time":"1700000000001","details":"spin","extra":{"extraField":1}}}',X'22cb6bcb929ded52fdace7a2ba3a56d436c64eb6d11a422dbb7ce83705d8f223');
INSERT INTO stored_events VALUES(10,'round/LuckyMonaco/l1',3,'ResultRecorded','{"recorded_at":"2026-11-23T00:14:12.856775Z","user":"ann","currency":"USD","scale":2,"wallet_version":5,"reference":"lr1","transaction_id":"290a7934-ce0e-5afb-863c-e8151d011788","amount":2510,"cash_before":88950,"cash_after":91460,"provider":"LuckyMonaco","round":"l1","kind":"result","said":{"uuid":"u3","session":"s1","game_name":"game","provider_time":"1700000000003","details":{"a":[1,"ü"]},"extra":{"extraField":3}}}',X'fc2514db06bd1c52484c50f437071a13a18069b6331e0d8cbb06441d2b99f8ed');
INSERT INTO stored_events VALUES(11,'round/LuckyMonaco/l1',4,'RoundEnded','{"recorded_at":"2026-11-23T00:14:12.858085Z","provider":"LuckyMonaco","round":"l1","user":"ann","currency":"USD","transaction_id":"5d1bb0c8-f123-5a12-a0d1-caf45be9d52d","said":{"uuid":"u5","session":"s1","extra":{"gameName":"game","timestamp":1700000000005,"roundDetails":"spin","extraField":5,"win":"25.10"}}}',X'16461651b6a1c028e7838bdd3afdc191cb424f1610ec293e239ea6c64e808d65');
INSERT INTO stored_events VALUES(12,'round/LuckyMonaco/l2',1,'RoundOpened','{"recorded_at":"2026-11-23T00:14:12.861101Z","provider":"LuckyMonaco","round":"l2","user":"ann","currency":"USD","game":"g1"}',X'346b451a34fa49ee381ddfe34231ca29a32469f320f017900ec339e5408ea51c');
INSERT INTO stored_events VALUES(13,'round/LuckyMonaco/l2',2,'BetPlaced','{"recorded_at":"2026-11-23T00:14:12.861101Z","user":"ann","currency":"USD","scale":2,"wallet_version":6,"reference":"lb3","transaction_id":"f5778bc4-7455-5e78-92c8-66b19fbf5068","amount":700,"cash_before":91460,"cash_after":90760,"provider":"LuckyMonaco","round":"l2","game":"g1","said":{"uuid":"u8","session":"s1","game_name":"game","provider_time":"1700000000008","details":"spin","extra":{"extraField":8}}}',X'9236312f929f184a130e00896ea7290b1cb8812dcdaa9033fdb767bf2cf1383b');
INSERT INTO stored_events VALUES(14,'round/LuckyMonaco/l2',3,'BetPlaced','{"recorded_at":"2026-11-23T00:14:12.862436Z","user":"ann","currency":"USD","scale":2,"wallet_version":7,"reference":"lb4","transaction_id":"8869a75a-9730-56ff-ab2f-96f0b376c24b","amount":800,"cash_before":90760,"cash_after":89960,"provider":"LuckyMonaco","round":"l2","game":"g1","said":{"uuid":"u9","session":"s1","game_name":"game","provider_time":"1700000000009","details":{"a":[1,"ü"]},"extra":{"extraField":9}}}',X'1963b7127127a38a5ed0719a1cff76d5ccd81279776ed21c16bb4c1513c7c282');
INSERT INTO stored_events VALUES(15,'round/LuckyMonaco/l2',4,'BetPlaced','{"recorded_at":"2026-11-23T00:14:12.863765Z","user":"ann","currency":"USD","scale":2,"wallet_version":8,"reference":"lb5","transaction_id":"e574063c-6ba5-5555-8449-015a2fcf029b","amount":900,"cash_before":89960,"cash_after":89060,"provider":"LuckyMonaco","round":"l2","game":"g1","said":{"uuid":"u10","session":"s1","game_name":"game","provider_time":"1700000000010","details":"spin","extra":{"extraField":10}}}',X'cd0758081c4f78e3c796f4abdf205757293403a197e41f9205ed92109c0bbf2d');
INSERT INTO stored_events VALUES(16,'round/LuckyMonaco/l2',5,'BetCancelled','{"recorded_at":"2026-11-23T00:14:12.865129Z","user":"ann","currency":"USD","scale":2,"wallet_version":9,"reference":"lb3","transaction_id":"a358fe40-da2c-584e-86c0-e55f94991f41","amount":700,"cash_before":89060,"cash_after":89760,"provider":"LuckyMonaco","round":"l2","by":"cancel","said":{"uuid":"u11","session":"s1","game_name":"game","extra":{"timestamp":1700000000011,"roundDetails":"spin","extraField":11}}}',X'6a2f65bc29fcff032cb06d39424eb7e5030dcf06605ef046edd9f5e3a5f4d788');
INSERT INTO stored_events VALUES(17,'round/LuckyMonaco/l2',6,'BetCancelled','{"recorded_at":"2026-11-23T00:14:12.867571Z","user":"ann","currency":"USD","scale":2,"wallet_version":10,"reference":"lb4","transaction_id":"62e5c903-c2ca-5dad-a22f-66b59376eb8d","amount":800,"cash_before":89760,"cash_after":90560,"provider":"LuckyMonaco","round":"l2","by":"cancel-round","said":{"uuid":"u13","session":"s1","game_name":"game","extra":{"timestamp":1700000000013,"roundDetails":"spin","extraField":13}}}',X'596668be57de04b51ca001d950a669d603e1ea1465cb219a9853b6464616cf46');
INSERT INTO stored_events VALUES(18,'round/LuckyMonaco/l2',7,'BetCancelled','{"recorded_at":"2026-11-23T00:14:12.867571Z","user":"ann","currency":"USD","scale":2,"wallet_version":11,"reference":"lb5","transaction_id":"18583f83-8fa9-5b1d-97dd-255ad453eecb","amount":900,"cash_before":90560,"cash_after":91460,"provider":"LuckyMonaco","round":"l2","by":"cancel-round","said":{"uuid":"u13","session":"s1","game_name":"game","extra":{"timestamp":1700000000013,"roundDetails":"spin","extraField":13}}}',X'2499fe035358067800cb3756df631be7c23ac94d91ee0881b49c5acab4fe693b');
INSERT INTO stored_events VALUES(19,'round/LuckyMonaco/l2',8,'RoundCancelled','{"recorded_at":"2026-11-23T00:14:12.867571Z","provider":"LuckyMonaco","round":"l2","user":"ann","currency":"USD"}',X'a59f839f2fdeb0a94b74399b297e7e9d9e7e82eed90e8a2ce5c169d1b99cc5cf');
INSERT INTO stored_events VALUES(20,'round/LuckyMonaco/l77',1,'RoundOpened','{"recorded_at":"2026-11-23T00:14:12.869245Z","provider":"LuckyMonaco","round":"l77","user":"ann","currency":"USD","game":"g1"}',X'cdae8910ee84c31e0734b92c03aade7704d40cb7fc31606122475381acbf2858');
INSERT INTO stored_events VALUES(21,'round/LuckyMonaco/l77',2,'TombstoneRecorded','{"recorded_at":"2026-11-23T00:14:12.869245Z","provider":"LuckyMonaco","round":"l77","user":"ann","currency":"USD","game":"g1","reference":"unknown-cr2","transaction_id":"7264a900-f306-5b19-847e-918807711c24","by":"cancel-round","said":{"uuid":"u16","session":"s1","game_name":"game","extra":{"timestamp":1700000000016,"roundDetails":"spin","extraField":16}}}',X'a5a7c335388d3a08ecab32792025cf3049d0751dbe355804156142e5491bc86c');
INSERT INTO stored_events VALUES(22,'round/LuckyMonaco/l77',3,'LateBetRefused','{"recorded_at":"2026-11-23T00:14:12.870667Z","provider":"LuckyMonaco","round":"l77","user":"ann","currency":"USD","reference":"unknown-cr2","said":{"uuid":"u17","session":"s1","game_name":"game","provider_time":"1700000000017","details":"spin","extra":{"extraField":17}}}',X'96bee6fe40bb1a3d70cf754bc560736d435202106459d72ce0132e97b5217d05');
INSERT INTO stored_events VALUES(23,'round/LuckyMonaco/l3',1,'RoundOpened','{"recorded_at":"2026-11-23T00:14:12.872067Z","provider":"LuckyMonaco","round":"l3","user":"ann","currency":"USD","game":"g1"}',X'df6f143781c2df09af7b3455ea73e779bd17768e50ccbbb369279013f5247ff3');
INSERT INTO stored_events VALUES(24,'round/LuckyMonaco/l3',2,'BetRefused','{"recorded_at":"2026-11-23T00:14:12.872067Z","provider":"LuckyMonaco","round":"l3","user":"ann","currency":"USD","reference":"lbig","amount":10000000,"cash":91460,"said":{"uuid":"u18","session":"s1","game_name":"game","provider_time":"1700000000018","details":{"a":[1,"ü"]},"extra":{"extraField":18}}}',X'bc6931ffdbd9ee619a353fa32700b380c01f5a3f00e47058613f3ead96648082');
INSERT INTO stored_events VALUES(25,'round/LuckyMonaco/l3',3,'TombstoneRecorded','{"recorded_at":"2026-11-23T00:14:12.873430Z","provider":"LuckyMonaco","round":"l3","user":"ann","currency":"USD","game":"g1","reference":"lbig","transaction_id":"5eb73d74-0c57-5e7e-9793-320c18b6e5bf","by":"refund","said":{"uuid":"u21","game_name":"game","extra":{"timestamp":1700000000021,"roundDetails":{"a":[1,"ü"]},"extraField":21}}}',X'f3583f898dae7f49e4ba4ecd5133d4f09596469aa91323708896bbb4357c1472');
INSERT INTO stored_events VALUES(26,'round/LuckyMonaco/l5',1,'RoundOpened','{"recorded_at":"2026-11-23T00:14:12.874576Z","provider":"LuckyMonaco","round":"l5","user":"ann","currency":"USD","game":"g1"}',X'f4301df68d7d1e5fc9de1876e8d8910820f979bcceb4e8545f41b34a9c2a48a9');
INSERT INTO stored_events VALUES(27,'round/LuckyMonaco/l5',2,'TombstoneRecorded','{"recorded_at":"2026-11-23T00:14:12.874576Z","provider":"LuckyMonaco","round":"l5","user":"ann","currency":"USD","game":"g1","reference":"ltomb","transaction_id":"b79424e5-b02e-5f0c-af9f-022e54882405","by":"cancel","said":{"uuid":"u29","session":"s1","game_name":"game","extra":{"timestamp":1700000000029,"roundDetails":"spin","extraField":29}}}',X'3a7468638188c207d3522861c91866c97a2125dd9e706bfc3a3274ca81fb6613');
INSERT INTO stored_events VALUES(28,'round/LuckyMonaco/l5',3,'LateBetRefused','{"recorded_at":"2026-11-23T00:14:12.876740Z","provider":"LuckyMonaco","round":"l5","user":"ann","currency":"USD","reference":"ltomb","said":{"uuid":"u31","session":"s1","game_name":"game","provider_time":"1700000000031","details":"spin","extra":{"extraField":31}}}',X'663c8129c6e2f8b5f7978a3004d5f9d2489ea2c0233f53409afcd66e2f1a1931');
INSERT INTO stored_events VALUES(29,'promo/LuckyMonaco/lpw',1,'PromoPaid','{"recorded_at":"2026-11-23T00:14:12.878060Z","user":"ann","currency":"USD","scale":2,"wallet_version":12,"reference":"lpw","transaction_id":"b027acf2-8418-574f-b99a-f73394b6d299","amount":600,"cash_before":91460,"cash_after":92060,"provider":"LuckyMonaco","campaign":"c1","campaign_type":"T","said":{"uuid":"u39","session":"s1","game_name":"game","provider_time":"1700000000039","details":{"a":[1,"ü"]},"extra":{"gameId":"g1","extraField":39}}}',X'dcece1691482e4e37f1367777d91b37c6f85edb4693648f997a24cb72bbf0aa3');
INSERT INTO stored_events VALUES(30,'session/LuckyMonaco/sb',1,'SessionExpired','{"recorded_at":"2026-11-23T00:14:12.882006Z","provider":"LuckyMonaco","user":"bob","session":"sb","said":{"uuid":"u55","session":"sb","extra":{"currency":"USD","gameId":"g1","gameName":"game","timestamp":1700000000055,"roundDetails":"spin","extraField":55}}}',X'4b71f070e9d53495672c050728d3eeb2a2da66d2853f5251efe9ff660e4ac860');
INSERT INTO stored_events VALUES(31,'round/Kyren/k9',1,'RoundOpened','{"recorded_at":"2026-11-23T00:14:12.883545Z","provider":"Kyren","round":"k9","user":"jo","currency":"JPY","game":"g1"}',X'0e9e9765f678266ce60f371d5d168d5d63439044435a06cc3c9fa929253d3714');
INSERT INTO stored_events VALUES(32,'round/Kyren/k9',2,'BetPlaced','{"recorded_at":"2026-11-23T00:14:12.883545Z","user":"jo","currency":"JPY","scale":0,"wallet_version":3,"reference":"kb15","transaction_id":"e929607f-48ab-5c68-92cf-e2496bccadc9","amount":300,"cash_before":1000,"cash_after":700,"provider":"Kyren","round":"k9","game":"g1","said":{"uuid":"u96","session":"s1","game_name":"game","provider_time":"1700000000096","details":{"a":[1,"ü"]},"extra":{"extraField":96}}}',X'ad6820f67a91796009868ecd7da53925bf6a08e03cba980e7499cf7dc8efa0b7');
INSERT INTO stored_events VALUES(33,'round/LuckyMonaco/Pa1',1,'RoundOpened','{"recorded_at":"2026-11-23T00:14:12.912791Z","provider":"LuckyMonaco","round":"Pa1","user":"ann","currency":"USD","game":"vs"}',X'26d78c3ef1f286d80266896917b6789db9b29d77282fba30a23eb3ba5db51297');
INSERT INTO stored_events VALUES(34,'round/LuckyMonaco/Pa1',2,'BetPlaced','{"recorded_at":"2026-11-23T00:14:12.912791Z","user":"ann","currency":"USD","scale":2,"wallet_version":13,"reference":"a-1","transaction_id":"995f588c-1f67-5b5f-bd53-88d879a9d3bf","amount":1000,"cash_before":92060,"cash_after":91060,"provider":"LuckyMonaco","round":"Pa1","game":"vs","said":{"uuid":"0e3ea07bf28d50fb9dffccc8bd6584e2","session":"ps","game_name":"demo","provider_time":"1795392852885","details":"spin"}}',X'bbf3c0803efcc3a6b4b7b416155a1b9f8d44b5bff2f08b45dff291bb727bca29');
INSERT INTO stored_events VALUES(35,'round/LuckyMonaco/Pa1',3,'ResultRecorded','{"recorded_at":"2026-11-23T00:14:12.920129Z","user":"ann","currency":"USD","scale":2,"wallet_version":14,"reference":"a-r1","transaction_id":"4c923ad1-6880-53da-b030-028e07112a3a","amount":500,"cash_before":91060,"cash_after":91560,"provider":"LuckyMonaco","round":"Pa1","kind":"result","said":{"uuid":"85fd54dabd8a5830acd1cb475bcc9e49","session":"ps","game_name":"demo","provider_time":"1795392852917","details":"result"}}',X'2c958f541dd07a90f82454f2b590351287f0294df555b3bfd2c88353dd0a1da2');
INSERT INTO stored_events VALUES(36,'round/LuckyMonaco/Pa1',4,'RoundEnded','{"recorded_at":"2026-11-23T00:14:12.926912Z","provider":"LuckyMonaco","round":"Pa1","user":"ann","currency":"USD","transaction_id":"71f88296-5f4c-5b1c-bd70-74d21b7cec7e","said":{"uuid":"1c61fafd5b4c563c89b1b4f933c1e2fd","session":"ps"}}',X'd1fc486094997e18cff6448fa9101317893618c2639ca48dc7ef9324f8d1f2a1');
INSERT INTO stored_events VALUES(37,'round/LuckyMonaco/Pa2',1,'RoundOpened','{"recorded_at":"2026-11-23T00:14:12.934779Z","provider":"LuckyMonaco","round":"Pa2","user":"ann","currency":"USD","game":"vs"}',X'9001104f6dd82a3d340962707ad4995182dae03e5b5166090565463601459011');
INSERT INTO stored_events VALUES(38,'round/LuckyMonaco/Pa2',2,'BetPlaced','{"recorded_at":"2026-11-23T00:14:12.934779Z","user":"ann","currency":"USD","scale":2,"wallet_version":15,"reference":"a-3","transaction_id":"1ffe071e-a009-52c2-9fbd-2225a0bfcf22","amount":1000,"cash_before":91560,"cash_after":90560,"provider":"LuckyMonaco","round":"Pa2","game":"vs","said":{"uuid":"0060136f694a5372a592801f37f975f8","session":"ps","game_name":"demo","provider_time":"1795392852930","details":"spin"}}',X'0074202616e09813558c3c58c256513c7140a6e6acad3bae96bf6550d7b1c932');
INSERT INTO stored_events VALUES(39,'round/LuckyMonaco/Pa2',3,'BetRefunded','{"recorded_at":"2026-11-23T00:14:12.940982Z","user":"ann","currency":"USD","scale":2,"wallet_version":16,"reference":"a-3","transaction_id":"cfe0c9cc-ab2b-5533-acf3-c9c61f1f8c9a","amount":1000,"cash_before":90560,"cash_after":91560,"provider":"LuckyMonaco","round":"Pa2","by":"refund","said":{"uuid":"bbbda24e40715a12ae33aaced599ec46","game_name":"demo"}}',X'1825be967ddf3028d9337444dc2e5b1b4f86294d930e04e507ceec6fccd3b5cc');
INSERT INTO stored_events VALUES(40,'round/LuckyMonaco/Pa2',4,'RoundCancelled','{"recorded_at":"2026-11-23T00:14:12.940982Z","provider":"LuckyMonaco","round":"Pa2","user":"ann","currency":"USD"}',X'88a45e171004ed7ea89fb3bc1167383c584cdd92f5494094dc97dd894ee10544');
INSERT INTO stored_events VALUES(41,'wallet/bob/USD',3,'WalletFrozen','{"recorded_at":"2026-11-23T00:14:37.404019Z","user":"bob","currency":"USD","scale":2,"wallet_version":3}',X'a664cc33f43f275f250be9e46f105b68ec910c9f38e9618d3b993f70e6c9cb7a');
INSERT INTO stored_events VALUES(42,'round/LuckyMonaco/l3',4,'LateBetRefused','{"recorded_at":"2026-11-23T00:14:41.435097Z","provider":"LuckyMonaco","round":"l3","user":"ann","currency":"USD","reference":"lbig","said":{"uuid":"u18","session":"s1","game_name":"game","provider_time":"1700000000018","details":{"a":[1,"ü"]},"extra":{"extraField":18}}}',X'c47bffefdafaa92726cec31d3b26e3428f94c521959720d2c60e6008691c6964');
CREATE TABLE seals (
    number integer primary key,
    position integer not null,
    seal text not null
) strict;
INSERT INTO seals VALUES(1,40,'{"position":40,"hash":"88a45e171004ed7ea89fb3bc1167383c584cdd92f5494094dc97dd894ee10544","root":"ff1a1a57328134f4f4533b3b65dd7394baec798b1d140182927b5102772966f4","peaks":["dbe021203b83bffd7da5fa546255e94c772de1a3b64c6ad9c9cd38a0a5f37e6a","34b5fa8ab6617977d3088c13b32cb1890822c6e4ece40fc555399a952d5245bc"],"sealed_at":"2026-11-23T00:14:13.754455Z","key":"63845ab5930474a5852bd349abec43246519835eba5c21a503cdb741449f0212","signature":"4e5b1fb1b8b8172a6648b12a404b78e6a16bb7ca189c03daf608915bd9a7c9423bda11acf8baa4a07e79b4c881ec11ef2b2680e1666b6b6ca4a28385a973280b","next_key":""}');
INSERT INTO seals VALUES(2,41,'{"position":41,"hash":"a664cc33f43f275f250be9e46f105b68ec910c9f38e9618d3b993f70e6c9cb7a","root":"06a1e751919e3e7bc76ae13e36e4f0b23a60929ff27a31e2c6c045ccfc3a0df5","peaks":["dbe021203b83bffd7da5fa546255e94c772de1a3b64c6ad9c9cd38a0a5f37e6a","34b5fa8ab6617977d3088c13b32cb1890822c6e4ece40fc555399a952d5245bc","01011a14728b7f1fb47981c9d4f483e87ae99f35e0af99a46e68c9f9f642a627"],"sealed_at":"2026-11-23T00:14:37.768118Z","key":"63845ab5930474a5852bd349abec43246519835eba5c21a503cdb741449f0212","signature":"9941c94401f9944296476545980e9d8d12ef07f6d9513136d4efec9b26a417d0cb9cd5496ac1c5706430889c29989c66956570d14979e7b1d47d4b3f0fe18101","next_key":""}');
INSERT INTO seals VALUES(3,42,'{"position":42,"hash":"c47bffefdafaa92726cec31d3b26e3428f94c521959720d2c60e6008691c6964","root":"cb508c76b9a5961f1f152e708fdd15419f59cbd1c34ccb3c5ef45e0e4977e653","peaks":["dbe021203b83bffd7da5fa546255e94c772de1a3b64c6ad9c9cd38a0a5f37e6a","34b5fa8ab6617977d3088c13b32cb1890822c6e4ece40fc555399a952d5245bc","6d0c7e6c07f26547c80f614a97d0af69b56d9566a3b35f5b204eabc05485765f"],"sealed_at":"2026-11-23T00:14:41.771031Z","key":"63845ab5930474a5852bd349abec43246519835eba5c21a503cdb741449f0212","signature":"af3d72fdabd5b80bc14eca4dcb213f1429dd8b39a6b8039f06172b5ebe49a29c9fabb3d4d5846eea823db9e649ab1c0a65ba939b4917771a6535c72e3435b001","next_key":""}');
CREATE TABLE reference_index (
    provider text not null,
    kind text not null,
    reference text not null,
    stream text not null,
    stream_version integer not null,
    transaction_id text not null,
    primary key (provider, kind, reference)
) strict, without rowid;
INSERT INTO reference_index VALUES('Kyren','bet','kb15','round/Kyren/k9',2,'e929607f-48ab-5c68-92cf-e2496bccadc9');
INSERT INTO reference_index VALUES('LuckyMonaco','bet','a-1','round/LuckyMonaco/Pa1',2,'995f588c-1f67-5b5f-bd53-88d879a9d3bf');
INSERT INTO reference_index VALUES('LuckyMonaco','bet','a-3','round/LuckyMonaco/Pa2',2,'1ffe071e-a009-52c2-9fbd-2225a0bfcf22');
INSERT INTO reference_index VALUES('LuckyMonaco','bet','lb1','round/LuckyMonaco/l1',2,'0c10b79c-0ad8-53c9-9c54-5c7c1951607d');
INSERT INTO reference_index VALUES('LuckyMonaco','bet','lb3','round/LuckyMonaco/l2',2,'f5778bc4-7455-5e78-92c8-66b19fbf5068');
INSERT INTO reference_index VALUES('LuckyMonaco','bet','lb4','round/LuckyMonaco/l2',3,'8869a75a-9730-56ff-ab2f-96f0b376c24b');
INSERT INTO reference_index VALUES('LuckyMonaco','bet','lb5','round/LuckyMonaco/l2',4,'e574063c-6ba5-5555-8449-015a2fcf029b');
INSERT INTO reference_index VALUES('LuckyMonaco','bet','lbig','round/LuckyMonaco/l3',2,'');
INSERT INTO reference_index VALUES('LuckyMonaco','bet','ltomb','round/LuckyMonaco/l5',2,'b79424e5-b02e-5f0c-af9f-022e54882405');
INSERT INTO reference_index VALUES('LuckyMonaco','bet','unknown-cr2','round/LuckyMonaco/l77',2,'7264a900-f306-5b19-847e-918807711c24');
INSERT INTO reference_index VALUES('LuckyMonaco','promo','lpw','promo/LuckyMonaco/lpw',1,'b027acf2-8418-574f-b99a-f73394b6d299');
INSERT INTO reference_index VALUES('LuckyMonaco','result','a-r1','round/LuckyMonaco/Pa1',3,'4c923ad1-6880-53da-b030-028e07112a3a');
INSERT INTO reference_index VALUES('LuckyMonaco','result','lr1','round/LuckyMonaco/l1',3,'290a7934-ce0e-5afb-863c-e8151d011788');
INSERT INTO reference_index VALUES('LuckyMonaco','session','sb','session/LuckyMonaco/sb',1,'');
INSERT INTO reference_index VALUES('cashier','deposit','d-ann-USD','wallet/ann/USD',2,'d633bd8b-b50e-532f-995c-7abcdababa30');
INSERT INTO reference_index VALUES('cashier','deposit','d-bob-USD','wallet/bob/USD',2,'ef5c888b-abe1-5a3d-bfb2-f2a50548a651');
INSERT INTO reference_index VALUES('cashier','deposit','d-jo-JPY','wallet/jo/JPY',2,'db3f3da4-a226-5cf8-801a-86106f495d4a');
INSERT INTO reference_index VALUES('cashier','withdrawal','w1','wallet/ann/USD',3,'76e5775d-531b-5262-87aa-b71cbfcdd1c8');
CREATE TABLE wallets (
    user text not null,
    currency text not null,
    cash integer not null check (cash >= 0),
    scale integer not null,
    frozen integer not null,
    version integer not null,
    primary key (user, currency)
) strict, without rowid;
INSERT INTO wallets VALUES('ann','USD',91560,2,0,16);
INSERT INTO wallets VALUES('bob','USD',100000,2,1,3);
INSERT INTO wallets VALUES('jo','JPY',700,0,0,3);
CREATE TABLE rounds (
    provider text not null,
    round text not null,
    user text not null,
    currency text not null,
    status text not null check (status in ('InProgress', 'Completed', 'Cancelled')),
    staked integer not null,
    won integer not null,
    reversed integer not null,
    opened_at text not null,
    primary key (provider, round)
) strict, without rowid;
INSERT INTO rounds VALUES('Kyren','k9','jo','JPY','InProgress',300,0,0,'2026-11-23T00:14:12.883545Z');
INSERT INTO rounds VALUES('LuckyMonaco','Pa1','ann','USD','Completed',1000,500,0,'2026-11-23T00:14:12.912791Z');
INSERT INTO rounds VALUES('LuckyMonaco','Pa2','ann','USD','Cancelled',1000,0,1000,'2026-11-23T00:14:12.934779Z');
INSERT INTO rounds VALUES('LuckyMonaco','l1','ann','USD','Completed',10000,2510,0,'2026-11-23T00:14:12.854715Z');
INSERT INTO rounds VALUES('LuckyMonaco','l2','ann','USD','Cancelled',2400,0,2400,'2026-11-23T00:14:12.861101Z');
INSERT INTO rounds VALUES('LuckyMonaco','l3','ann','USD','InProgress',0,0,0,'2026-11-23T00:14:12.872067Z');
INSERT INTO rounds VALUES('LuckyMonaco','l5','ann','USD','InProgress',0,0,0,'2026-11-23T00:14:12.874576Z');
INSERT INTO rounds VALUES('LuckyMonaco','l77','ann','USD','InProgress',0,0,0,'2026-11-23T00:14:12.869245Z');
CREATE TRIGGER stored_events_are_never_updated before update on stored_events
begin select raise(abort, 'events are immutable'); end;
CREATE TRIGGER stored_events_are_never_replaced before insert on stored_events
when exists (select 1 from stored_events where position = new.position)
or exists (select 1 from stored_events where stream = new.stream and version = new.version)
begin select raise(abort, 'events are immutable'); end;
CREATE TRIGGER stored_events_are_never_deleted before delete on stored_events
begin select raise(abort, 'events are immutable'); end;
CREATE TRIGGER seals_are_never_updated before update on seals
begin select raise(abort, 'seals are immutable'); end;
CREATE TRIGGER seals_are_never_replaced before insert on seals
when exists (select 1 from seals where number = new.number)
begin select raise(abort, 'seals are immutable'); end;
CREATE TRIGGER seals_are_never_deleted before delete on seals
begin select raise(abort, 'seals are immutable'); end;
COMMIT;
