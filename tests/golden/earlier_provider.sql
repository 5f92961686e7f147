-- `sqlite3 provider.db .dump` of a book that the version of 2026-11-22 21:10 (6525eaa) served, each call sent twice;
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
INSERT INTO stored_events VALUES(1,'sweep',1,'SweepMade','{"recorded_at":"2026-11-23T00:14:12.706377Z"}',X'dc85359bf1afee25aa735a3c318be7b6c07c82700c8d3a58027085eafe0b9818');
INSERT INTO stored_events VALUES(2,'round/acme/Pa1',1,'RoundOpened','{"recorded_at":"2026-11-23T00:14:12.885319Z","operator":"acme","round":"Pa1","provider":"LuckyMonaco","user":"ann","currency":"USD","scale":2,"game":"vs","game_name":"demo"}',X'd875ad8ebb361943405cd033326e0a750d7350b6ec2660a452a1d6752d950997');
INSERT INTO stored_events VALUES(3,'round/acme/Pa1',2,'BetRequested','{"recorded_at":"2026-11-23T00:14:12.885319Z","operator":"acme","round":"Pa1","reference":"a-1","call":{"path":"/V4/Bet","body":"{\"providerId\":\"LuckyMonaco\",\"userId\":\"ann\",\"currency\":\"USD\",\"gameId\":\"vs\",\"gameName\":\"demo\",\"roundId\":\"Pa1\",\"sessionId\":\"ps\",\"reference\":\"a-1\",\"amount\":\"10.00\",\"timestamp\":\"1795392852885\",\"roundDetails\":\"spin\",\"uuid\":\"0e3ea07bf28d50fb9dffccc8bd6584e2\"}"},"session":"ps","amount":1000,"details":"spin"}',X'd98ed316b476ed0cdd87e64573d8dc667bbed9f9776de4cd034ceb5eadddd187');
INSERT INTO stored_events VALUES(4,'delivery/acme/bet/a-1',1,'SendStarted','{"recorded_at":"2026-11-23T00:14:12.887975Z","operator":"acme","kind":"bet","reference":"a-1","attempt":1,"worker":"vm:21657:3afb","until":"2026-11-23T00:14:19.887975Z"}',X'29dc4e078213875ae5abcbbabf18c58f425665c8949b986dea297564bc82fe33');
INSERT INTO stored_events VALUES(5,'delivery/acme/bet/a-1',2,'SendEnded','{"recorded_at":"2026-11-23T00:14:12.914587Z","operator":"acme","kind":"bet","reference":"a-1","attempt":1,"outcome":"answered","code":0,"took_ms":25}',X'f3654b97de12f2d670901102a21c37053c5393a6931065a2e372c833e54eb00f');
INSERT INTO stored_events VALUES(6,'round/acme/Pa1',3,'BetAccepted','{"recorded_at":"2026-11-23T00:14:12.914587Z","operator":"acme","round":"Pa1","reference":"a-1","amount":1000,"transaction_id":"995f588c-1f67-5b5f-bd53-88d879a9d3bf"}',X'62fb247d0eee102612fa0285d3e8454bc90cd9fe4e1b81173da815e7924facac');
INSERT INTO stored_events VALUES(7,'round/acme/Pa1',4,'ResultRequested','{"recorded_at":"2026-11-23T00:14:12.917304Z","operator":"acme","round":"Pa1","reference":"a-r1","call":{"path":"/V4/Result","body":"{\"providerId\":\"LuckyMonaco\",\"userId\":\"ann\",\"currency\":\"USD\",\"gameId\":\"vs\",\"gameName\":\"demo\",\"roundId\":\"Pa1\",\"sessionId\":\"ps\",\"reference\":\"a-r1\",\"amount\":\"5.00\",\"timestamp\":\"1795392852917\",\"roundDetails\":\"result\",\"uuid\":\"85fd54dabd8a5830acd1cb475bcc9e49\"}"},"amount":500}',X'5999a6c9197039d241a736027814522164b76712917c0c05a30ffc3f976a6954');
INSERT INTO stored_events VALUES(8,'delivery/acme/result/a-r1',1,'SendStarted','{"recorded_at":"2026-11-23T00:14:12.918513Z","operator":"acme","kind":"result","reference":"a-r1","attempt":1,"worker":"vm:21657:3afb","until":"2026-11-23T00:14:19.918513Z"}',X'b11816f500ef5a2d527b0006c04da755ce616422e49bdb7c46adf932100e6c8f');
INSERT INTO stored_events VALUES(9,'delivery/acme/result/a-r1',2,'SendEnded','{"recorded_at":"2026-11-23T00:14:12.921566Z","operator":"acme","kind":"result","reference":"a-r1","attempt":1,"outcome":"answered","code":0,"took_ms":2}',X'ccdd3e58b5bea339d63f6320bc1dafa86db1a3bc9bf285f5359ee5082acecbfe');
INSERT INTO stored_events VALUES(10,'round/acme/Pa1',5,'ResultConfirmed','{"recorded_at":"2026-11-23T00:14:12.921566Z","operator":"acme","round":"Pa1","reference":"a-r1","amount":500,"transaction_id":"4c923ad1-6880-53da-b030-028e07112a3a"}',X'dd50826ded62102bf37ce7da7f72cd1d09a7913ec4e6fda15041a272435942c4');
INSERT INTO stored_events VALUES(11,'round/acme/Pa1',6,'RoundCompleted','{"recorded_at":"2026-11-23T00:14:12.921566Z","operator":"acme","round":"Pa1"}',X'70fbea21447efc5ada41583a033be97ac2d12c3a934fd5b1a9b22e74e1af3366');
INSERT INTO stored_events VALUES(12,'round/acme/Pa1',7,'RoundEnded','{"recorded_at":"2026-11-23T00:14:12.924154Z","operator":"acme","round":"Pa1"}',X'235fb09715b30820d70d9e2567ca9af954da5ed76c43458836f71b8f6dd53c46');
INSERT INTO stored_events VALUES(13,'round/acme/Pa1',8,'EndRequested','{"recorded_at":"2026-11-23T00:14:12.924154Z","operator":"acme","round":"Pa1","reference":"Pa1","call":{"path":"/V4/EndRound","body":"{\"providerId\":\"LuckyMonaco\",\"userId\":\"ann\",\"currency\":\"USD\",\"gameId\":\"vs\",\"roundId\":\"Pa1\",\"sessionId\":\"ps\",\"uuid\":\"1c61fafd5b4c563c89b1b4f933c1e2fd\"}"}}',X'c65dcfe995b1015bd953d2dd8d08b195717d2c5af823ac07559cc5a01b980014');
INSERT INTO stored_events VALUES(14,'delivery/acme/end/Pa1',1,'SendStarted','{"recorded_at":"2026-11-23T00:14:12.925419Z","operator":"acme","kind":"end","reference":"Pa1","attempt":1,"worker":"vm:21657:3afb","until":"2026-11-23T00:14:19.925419Z"}',X'39d1aeab90b868ffcae563243b11ca7369924360a5ab38309b3c7dd7cd395ed2');
INSERT INTO stored_events VALUES(15,'delivery/acme/end/Pa1',2,'SendEnded','{"recorded_at":"2026-11-23T00:14:12.928234Z","operator":"acme","kind":"end","reference":"Pa1","attempt":1,"outcome":"answered","code":0,"took_ms":2}',X'ddb5ad38c71f641d6d8bd5daef75e4233dc90d7c3670828a842d732ac8322309');
INSERT INTO stored_events VALUES(16,'round/acme/Pa1',9,'EndConfirmed','{"recorded_at":"2026-11-23T00:14:12.928234Z","operator":"acme","round":"Pa1","reference":"Pa1","transaction_id":"71f88296-5f4c-5b1c-bd70-74d21b7cec7e"}',X'4bd7bc735f23af063af6b78c8e0423f5d34509ece3e085aea8fa6fd7015040c9');
INSERT INTO stored_events VALUES(17,'round/acme/Pa1',10,'RoundCompleted','{"recorded_at":"2026-11-23T00:14:12.928234Z","operator":"acme","round":"Pa1"}',X'd4542b3f8ff12d45df9c95fc6c37dcb64b8000c66934af6b7e3fa5ae1fd20c32');
INSERT INTO stored_events VALUES(18,'round/acme/Pa2',1,'RoundOpened','{"recorded_at":"2026-11-23T00:14:12.930532Z","operator":"acme","round":"Pa2","provider":"LuckyMonaco","user":"ann","currency":"USD","scale":2,"game":"vs","game_name":"demo"}',X'd7767647a547b005c2d7a585fe5050dcb5794a131c76cd7dbb56b86b68e64429');
INSERT INTO stored_events VALUES(19,'round/acme/Pa2',2,'BetRequested','{"recorded_at":"2026-11-23T00:14:12.930532Z","operator":"acme","round":"Pa2","reference":"a-3","call":{"path":"/V4/Bet","body":"{\"providerId\":\"LuckyMonaco\",\"userId\":\"ann\",\"currency\":\"USD\",\"gameId\":\"vs\",\"gameName\":\"demo\",\"roundId\":\"Pa2\",\"sessionId\":\"ps\",\"reference\":\"a-3\",\"amount\":\"10.00\",\"timestamp\":\"1795392852930\",\"roundDetails\":\"spin\",\"uuid\":\"0060136f694a5372a592801f37f975f8\"}"},"session":"ps","amount":1000,"details":"spin"}',X'76df6b8877d882661792d0915da3ae70b600e763081adb62dc6c7c56644f3c08');
INSERT INTO stored_events VALUES(20,'delivery/acme/bet/a-3',1,'SendStarted','{"recorded_at":"2026-11-23T00:14:12.933384Z","operator":"acme","kind":"bet","reference":"a-3","attempt":1,"worker":"vm:21657:3afb","until":"2026-11-23T00:14:19.933384Z"}',X'9bd629cfe7b5b78253af686e002f3d5c8312446c49a37517937a1d94ce2e56eb');
INSERT INTO stored_events VALUES(21,'delivery/acme/bet/a-3',2,'SendEnded','{"recorded_at":"2026-11-23T00:14:12.936315Z","operator":"acme","kind":"bet","reference":"a-3","attempt":1,"outcome":"answered","code":0,"took_ms":2}',X'aab15df833851754bacb4333f2e09ad7c13bf9852cefde1d5a18561159bbbb06');
INSERT INTO stored_events VALUES(22,'round/acme/Pa2',3,'BetAccepted','{"recorded_at":"2026-11-23T00:14:12.936315Z","operator":"acme","round":"Pa2","reference":"a-3","amount":1000,"transaction_id":"1ffe071e-a009-52c2-9fbd-2225a0bfcf22"}',X'6dc3482e1cebd5925a222460cdec971ffb09473ef501902bc0095df628824499');
INSERT INTO stored_events VALUES(23,'round/acme/Pa2',4,'CancellationRequested','{"recorded_at":"2026-11-23T00:14:12.938462Z","operator":"acme","round":"Pa2","by":"game"}',X'490f6a34fac37bb2a3e384fa0fe5d99d3d8adca354f14162915776c5414bf35d');
INSERT INTO stored_events VALUES(24,'round/acme/Pa2',5,'RefundRequested','{"recorded_at":"2026-11-23T00:14:12.938462Z","operator":"acme","round":"Pa2","reference":"a-3","call":{"path":"/v4/Cancel","body":"{\"providerId\":\"LuckyMonaco\",\"userId\":\"ann\",\"currency\":\"USD\",\"gameId\":\"vs\",\"gameName\":\"demo\",\"reference\":\"a-3\",\"uuid\":\"bbbda24e40715a12ae33aaced599ec46\"}"},"amount":1000,"by":"game"}',X'46b1768c32991d01010c507c67f0a55a7c2d6c991687fc4e231211ebc158e385');
INSERT INTO stored_events VALUES(25,'delivery/acme/refund/a-3',1,'SendStarted','{"recorded_at":"2026-11-23T00:14:12.939548Z","operator":"acme","kind":"refund","reference":"a-3","attempt":1,"worker":"vm:21657:3afb","until":"2026-11-23T00:14:19.939548Z"}',X'7661a2ebb064a30ec1c36b9c09ffd9d139d9b00d567f9d899eb9b185314f89af');
INSERT INTO stored_events VALUES(26,'delivery/acme/refund/a-3',2,'SendEnded','{"recorded_at":"2026-11-23T00:14:12.942232Z","operator":"acme","kind":"refund","reference":"a-3","attempt":1,"outcome":"answered","code":0,"took_ms":1}',X'e0b089ad35d1b04bf4c642ab8582394c1bf0f20ab6968f3657645d78f0f8e365');
INSERT INTO stored_events VALUES(27,'round/acme/Pa2',6,'RefundConfirmed','{"recorded_at":"2026-11-23T00:14:12.942232Z","operator":"acme","round":"Pa2","reference":"a-3","amount":1000,"transaction_id":"cfe0c9cc-ab2b-5533-acf3-c9c61f1f8c9a"}',X'8b17387a337b19a7240b2d0aeb34d213c5e0f1df4af61877e5df8729d03e7fde');
INSERT INTO stored_events VALUES(28,'round/acme/Pa2',7,'RoundCancelled','{"recorded_at":"2026-11-23T00:14:12.942232Z","operator":"acme","round":"Pa2"}',X'a4d9c56500ae6b8e794dd8d036bb619955d6cc611ec2cd40adcbe45fc224ba56');
INSERT INTO stored_events VALUES(29,'round/beta/Qdecl1',1,'RoundOpened','{"recorded_at":"2026-11-23T00:14:12.944415Z","operator":"beta","round":"Qdecl1","provider":"LuckyMonaco","user":"ann","currency":"USD","scale":2,"game":"vs","game_name":"demo"}',X'0cb6f64db9ab6138b164a91711c89bab4060c8d9f6456fbe7cfd269efe6aad29');
INSERT INTO stored_events VALUES(30,'round/beta/Qdecl1',2,'BetRequested','{"recorded_at":"2026-11-23T00:14:12.944415Z","operator":"beta","round":"Qdecl1","reference":"decl1","call":{"path":"/V4/Bet","body":"{\"providerId\":\"LuckyMonaco\",\"userId\":\"ann\",\"currency\":\"USD\",\"gameId\":\"vs\",\"gameName\":\"demo\",\"roundId\":\"Qdecl1\",\"sessionId\":\"ps\",\"reference\":\"decl1\",\"amount\":\"10.00\",\"timestamp\":\"1795392852944\",\"roundDetails\":\"spin\",\"uuid\":\"3bcc38823a4050568024283d8b9e9d4e\"}"},"session":"ps","amount":1000,"details":"spin"}',X'ac2f148f533c0b4a979e8c4b125e90f917551d8c09ca7e7a97ffe08913e3f0d1');
INSERT INTO stored_events VALUES(31,'delivery/beta/bet/decl1',1,'SendStarted','{"recorded_at":"2026-11-23T00:14:12.945600Z","operator":"beta","kind":"bet","reference":"decl1","attempt":1,"worker":"vm:21657:3afb","until":"2026-11-23T00:14:19.945600Z"}',X'564f48e8f6d99b44c2095c7bfa9b532a0e48448d4827203e17b6716588bfe4cb');
INSERT INTO stored_events VALUES(32,'delivery/beta/bet/decl1',2,'SendEnded','{"recorded_at":"2026-11-23T00:14:12.952696Z","operator":"beta","kind":"bet","reference":"decl1","attempt":1,"outcome":"answered","code":15,"detail":"x","took_ms":6}',X'36ee22352c3a3629469d21510197112b991cb759599d28ce7fc50f2da2572125');
INSERT INTO stored_events VALUES(33,'round/beta/Qdecl1',3,'BetDeclined','{"recorded_at":"2026-11-23T00:14:12.952696Z","operator":"beta","round":"Qdecl1","reference":"decl1","code":15,"detail":"x"}',X'b165c48ff8bd36d35d077eda343c488d323ea5ecfd1e724e7a4b07eb7fe10477');
INSERT INTO stored_events VALUES(34,'round/beta/Qdown1',1,'RoundOpened','{"recorded_at":"2026-11-23T00:14:12.956320Z","operator":"beta","round":"Qdown1","provider":"LuckyMonaco","user":"ann","currency":"USD","scale":2,"game":"vs","game_name":"demo"}',X'b13fc8e002aaf7654a549e891a6b151a34aaf63fcc42b7754c87b0441b3263d2');
INSERT INTO stored_events VALUES(35,'round/beta/Qdown1',2,'BetRequested','{"recorded_at":"2026-11-23T00:14:12.956320Z","operator":"beta","round":"Qdown1","reference":"down1","call":{"path":"/V4/Bet","body":"{\"providerId\":\"LuckyMonaco\",\"userId\":\"ann\",\"currency\":\"USD\",\"gameId\":\"vs\",\"gameName\":\"demo\",\"roundId\":\"Qdown1\",\"sessionId\":\"ps\",\"reference\":\"down1\",\"amount\":\"10.00\",\"timestamp\":\"1795392852956\",\"roundDetails\":\"spin\",\"uuid\":\"f1f227e0a41059d5a2413e48f14e15e3\"}"},"session":"ps","amount":1000,"details":"spin"}',X'e4b282161aa0914350f521863a17805f90f13c5bc7bb40aeb99cd8738d65fdc9');
INSERT INTO stored_events VALUES(36,'delivery/beta/bet/down1',1,'SendStarted','{"recorded_at":"2026-11-23T00:14:12.957481Z","operator":"beta","kind":"bet","reference":"down1","attempt":1,"worker":"vm:21657:3afb","until":"2026-11-23T00:14:19.957481Z"}',X'bb53e51c6ff422cdbe7a44d3b962a9ee6b7115780eb14b70ab822147d86976f0');
INSERT INTO stored_events VALUES(37,'delivery/beta/bet/down1',2,'SendEnded','{"recorded_at":"2026-11-23T00:14:13.000771Z","operator":"beta","kind":"bet","reference":"down1","attempt":1,"outcome":"invalid","detail":"HTTP 500","took_ms":42,"again_at":"2026-11-23T00:14:13.020955Z"}',X'f9ed757285952679184703434bc0f76d0be56f166d62674057a28929c317b998');
INSERT INTO stored_events VALUES(38,'delivery/beta/bet/down1',3,'SendStarted','{"recorded_at":"2026-11-23T00:14:13.252712Z","operator":"beta","kind":"bet","reference":"down1","attempt":2,"worker":"vm:21657:3afb","until":"2026-11-23T00:14:20.252712Z"}',X'8a9ab938bcc82a88bf6bd3f274b250ca7096cb6b10441a50212047aa7f9d5e8a');
INSERT INTO stored_events VALUES(39,'delivery/beta/bet/down1',4,'SendEnded','{"recorded_at":"2026-11-23T00:14:13.255209Z","operator":"beta","kind":"bet","reference":"down1","attempt":2,"outcome":"invalid","detail":"HTTP 500","took_ms":1,"again_at":"2026-11-23T00:17:47.917783Z"}',X'f6b9178e2c519dbd69bdb53e26a96528ed7881eb594e6f6372da95b3be5a2b4b');
INSERT INTO stored_events VALUES(40,'round/beta/Qdown1',3,'BetGivenUp','{"recorded_at":"2026-11-23T00:14:13.255209Z","operator":"beta","round":"Qdown1","reference":"down1"}',X'6b0fada1089e105e74255104e8e36fd716346710242766d78d30d62942707940');
INSERT INTO stored_events VALUES(41,'round/beta/Qdown1',4,'CancelRequested','{"recorded_at":"2026-11-23T00:14:13.255209Z","operator":"beta","round":"Qdown1","reference":"down1","call":{"path":"/V4/Cancel","body":"{\"providerId\":\"LuckyMonaco\",\"userId\":\"ann\",\"currency\":\"USD\",\"gameId\":\"vs\",\"gameName\":\"demo\",\"reference\":\"down1\",\"sessionId\":\"ps\",\"uuid\":\"c727af702ea95400b049ee3d9d1bd050\"}"}}',X'07dd4e34375f4249a8105296a4ebd296d1ed85a9d8fd9ede6088335698d42c3d');
INSERT INTO stored_events VALUES(42,'delivery/beta/cancel/down1',1,'SendStarted','{"recorded_at":"2026-11-23T00:14:13.257097Z","operator":"beta","kind":"cancel","reference":"down1","attempt":1,"worker":"vm:21657:3afb","until":"2026-11-23T00:14:20.257097Z"}',X'63d568b500fc6e3559326376ac4ef3a89f831525cc7171649b953be7a4e03d94');
INSERT INTO stored_events VALUES(43,'round/beta/Qparkref1',1,'RoundOpened','{"recorded_at":"2026-11-23T00:14:13.259390Z","operator":"beta","round":"Qparkref1","provider":"LuckyMonaco","user":"ann","currency":"USD","scale":2,"game":"vs","game_name":"demo"}',X'f26074fbd7e11a2ab8d8f7692e314b4ba5ffd7cc7fd0e965475b1cf9ef821eae');
INSERT INTO stored_events VALUES(44,'round/beta/Qparkref1',2,'BetRequested','{"recorded_at":"2026-11-23T00:14:13.259390Z","operator":"beta","round":"Qparkref1","reference":"parkref1","call":{"path":"/V4/Bet","body":"{\"providerId\":\"LuckyMonaco\",\"userId\":\"ann\",\"currency\":\"USD\",\"gameId\":\"vs\",\"gameName\":\"demo\",\"roundId\":\"Qparkref1\",\"sessionId\":\"ps\",\"reference\":\"parkref1\",\"amount\":\"10.00\",\"timestamp\":\"1795392853259\",\"roundDetails\":\"spin\",\"uuid\":\"6a9511c1ceae5df8949a891a331a6156\"}"},"session":"ps","amount":1000,"details":"spin"}',X'9ccfaccb8918877e192d4721b00cb79ca9a005059d22cc3235d8ad9c3a4e1553');
INSERT INTO stored_events VALUES(45,'delivery/beta/bet/parkref1',1,'SendStarted','{"recorded_at":"2026-11-23T00:14:13.260799Z","operator":"beta","kind":"bet","reference":"parkref1","attempt":1,"worker":"vm:21657:3afb","until":"2026-11-23T00:14:20.260799Z"}',X'7cc22ea09ce80fefdff56e285b8dd6f1dbbee388da1d3e6955161438031c8d3f');
INSERT INTO stored_events VALUES(46,'delivery/beta/bet/parkref1',2,'SendEnded','{"recorded_at":"2026-11-23T00:14:13.264667Z","operator":"beta","kind":"bet","reference":"parkref1","attempt":1,"outcome":"answered","code":0,"took_ms":3}',X'2dff0945a9aeb71a6724fd824f3d0d777bee2e2522bf03daf322c9ec4b2b4ea1');
INSERT INTO stored_events VALUES(47,'round/beta/Qparkref1',3,'BetAccepted','{"recorded_at":"2026-11-23T00:14:13.264667Z","operator":"beta","round":"Qparkref1","reference":"parkref1","amount":1000,"transaction_id":"t-0142c3cf"}',X'66ae30918f1a59e6282ff426ee6e7f22b120a92a998244ce92a9b1cd624db708');
INSERT INTO stored_events VALUES(48,'round/beta/Qrefres1',1,'RoundOpened','{"recorded_at":"2026-11-23T00:14:13.266910Z","operator":"beta","round":"Qrefres1","provider":"LuckyMonaco","user":"ann","currency":"USD","scale":2,"game":"vs","game_name":"demo"}',X'4c5342887c755031aa4bd99f447a21a71a515d8f1cc46199d0e01ff979ea904b');
INSERT INTO stored_events VALUES(49,'round/beta/Qrefres1',2,'BetRequested','{"recorded_at":"2026-11-23T00:14:13.266910Z","operator":"beta","round":"Qrefres1","reference":"refres1","call":{"path":"/V4/Bet","body":"{\"providerId\":\"LuckyMonaco\",\"userId\":\"ann\",\"currency\":\"USD\",\"gameId\":\"vs\",\"gameName\":\"demo\",\"roundId\":\"Qrefres1\",\"sessionId\":\"ps\",\"reference\":\"refres1\",\"amount\":\"10.00\",\"timestamp\":\"1795392853266\",\"roundDetails\":\"spin\",\"uuid\":\"0fbac4bacda65d268d259a5bb58ac7f4\"}"},"session":"ps","amount":1000,"details":"spin"}',X'6c054640096d91d56843f9a2e48942f1cbe7f7b33e201d4bd368d468b0a1c051');
INSERT INTO stored_events VALUES(50,'delivery/beta/bet/refres1',1,'SendStarted','{"recorded_at":"2026-11-23T00:14:13.268094Z","operator":"beta","kind":"bet","reference":"refres1","attempt":1,"worker":"vm:21657:3afb","until":"2026-11-23T00:14:20.268094Z"}',X'29e2ae314488c9b4361ce660b70d620e620af8bcc2059b7d6c6166a07b82d5d6');
INSERT INTO stored_events VALUES(51,'delivery/beta/cancel/down1',2,'SendEnded','{"recorded_at":"2026-11-23T00:14:13.304485Z","operator":"beta","kind":"cancel","reference":"down1","attempt":1,"outcome":"invalid","detail":"HTTP 500","took_ms":45,"again_at":"2026-11-23T00:14:13.307504Z"}',X'31cf8c1876f612e67d7175480997e70cb515e0bd6620e8a67bb28bea1cd00bcc');
INSERT INTO stored_events VALUES(52,'delivery/beta/cancel/down1',3,'SendStarted','{"recorded_at":"2026-11-23T00:14:13.308321Z","operator":"beta","kind":"cancel","reference":"down1","attempt":2,"worker":"vm:21657:3afb","until":"2026-11-23T00:14:20.308321Z"}',X'06ec477d530f8c0a98a9514da5bd86828e8534b1af738140d0dd29f069804c10');
INSERT INTO stored_events VALUES(53,'delivery/beta/bet/refres1',2,'SendEnded','{"recorded_at":"2026-11-23T00:14:13.316613Z","operator":"beta","kind":"bet","reference":"refres1","attempt":1,"outcome":"answered","code":0,"took_ms":44}',X'fd62ed764c3172bfb2dcf923ca8c2e6a270000c39f0d3e7a8a039d9a12bb9a05');
INSERT INTO stored_events VALUES(54,'round/beta/Qrefres1',3,'BetAccepted','{"recorded_at":"2026-11-23T00:14:13.316613Z","operator":"beta","round":"Qrefres1","reference":"refres1","amount":1000,"transaction_id":"t-59d557a0"}',X'34e583b0b0eb5115ab7c1a9e11edb82ccbcad82763513854052d677dd476944e');
INSERT INTO stored_events VALUES(55,'round/beta/Qparkref1',4,'CancellationRequested','{"recorded_at":"2026-11-23T00:14:13.320714Z","operator":"beta","round":"Qparkref1","by":"game"}',X'096f05de0d70f1f57d0378df86d372296b276ce37bbfdfe1bc55e0438d2347c3');
INSERT INTO stored_events VALUES(56,'round/beta/Qparkref1',5,'RefundRequested','{"recorded_at":"2026-11-23T00:14:13.320714Z","operator":"beta","round":"Qparkref1","reference":"parkref1","call":{"path":"/v4/Cancel","body":"{\"providerId\":\"LuckyMonaco\",\"userId\":\"ann\",\"currency\":\"USD\",\"gameId\":\"vs\",\"gameName\":\"demo\",\"reference\":\"parkref1\",\"uuid\":\"e8fbc08f545a5ca2abb1513429cac253\"}"},"amount":1000,"by":"game"}',X'279ddd6dc559ca9f40ec42a7b372bebf78fefb9d6f11ad5f920300155e82c341');
INSERT INTO stored_events VALUES(57,'delivery/beta/refund/parkref1',1,'SendStarted','{"recorded_at":"2026-11-23T00:14:13.322000Z","operator":"beta","kind":"refund","reference":"parkref1","attempt":1,"worker":"vm:21657:3afb","until":"2026-11-23T00:14:20.322000Z"}',X'87274044f446b4f3e26c52928aaec807897243dd684e318886933494a6956143');
INSERT INTO stored_events VALUES(58,'delivery/beta/cancel/down1',4,'SendEnded','{"recorded_at":"2026-11-23T00:14:13.352599Z","operator":"beta","kind":"cancel","reference":"down1","attempt":2,"outcome":"invalid","detail":"HTTP 500","took_ms":43,"again_at":"2026-11-23T00:17:08.831587Z"}',X'b4b8884faff7474eac56d9af42a210dbac88c37f1410604390d59e0fa5202c1c');
INSERT INTO stored_events VALUES(59,'round/beta/Qdown1',5,'DeliveryParked','{"recorded_at":"2026-11-23T00:14:13.352599Z","operator":"beta","round":"Qdown1","kind":"cancel","reference":"down1"}',X'5c1416f264dac120e51e81dba9b2d9d069acb73415ac584c6e1bacbd88165f43');
INSERT INTO stored_events VALUES(60,'delivery/beta/refund/parkref1',2,'SendEnded','{"recorded_at":"2026-11-23T00:14:13.364618Z","operator":"beta","kind":"refund","reference":"parkref1","attempt":1,"outcome":"invalid","detail":"HTTP 500","took_ms":41,"again_at":"2026-11-23T00:14:13.375612Z"}',X'ae83913a9a8737687b6506ddeb7f5792de2c6b61abfc0ac30ba214277d61a8e2');
INSERT INTO stored_events VALUES(61,'delivery/beta/refund/parkref1',3,'SendStarted','{"recorded_at":"2026-11-23T00:14:13.616818Z","operator":"beta","kind":"refund","reference":"parkref1","attempt":2,"worker":"vm:21657:3afb","until":"2026-11-23T00:14:20.616818Z"}',X'6c91e825eebaa14fc12eb1b0cba6d15721e44d94de895a0259a3fc76313a225b');
INSERT INTO stored_events VALUES(62,'delivery/beta/refund/parkref1',4,'SendEnded','{"recorded_at":"2026-11-23T00:14:13.626255Z","operator":"beta","kind":"refund","reference":"parkref1","attempt":2,"outcome":"invalid","detail":"HTTP 500","took_ms":1,"again_at":"2026-11-23T00:17:28.870202Z"}',X'b6fb12d0f7f96651c0c2c15a4cb679c53d84efb8db444a58e6d62667606d8d41');
INSERT INTO stored_events VALUES(63,'round/beta/Qparkref1',6,'DeliveryParked','{"recorded_at":"2026-11-23T00:14:13.626255Z","operator":"beta","round":"Qparkref1","kind":"refund","reference":"parkref1"}',X'8723f2725729d48d41383eea98b9a12e3fbd8897cc7a3d36cfdc7ccde23d7416');
INSERT INTO stored_events VALUES(64,'round/beta/Qrefres1',4,'ResultRequested','{"recorded_at":"2026-11-23T00:14:21.348441Z","operator":"beta","round":"Qrefres1","reference":"refres1","call":{"path":"/V4/Result","body":"{\"providerId\":\"LuckyMonaco\",\"userId\":\"ann\",\"currency\":\"USD\",\"gameId\":\"vs\",\"gameName\":\"demo\",\"roundId\":\"Qrefres1\",\"sessionId\":\"ps\",\"reference\":\"refres1\",\"amount\":\"5.00\",\"timestamp\":\"1795392861348\",\"roundDetails\":\"result\",\"uuid\":\"5a2b6edafc5158ad965b05c16637f53d\"}"},"amount":500}',X'58413c9ad4322c7b182a24fca32abf1ab7b373abc340c7c6f3b2f96f168aae41');
INSERT INTO stored_events VALUES(65,'delivery/beta/result/refres1',1,'SendStarted','{"recorded_at":"2026-11-23T00:14:21.349997Z","operator":"beta","kind":"result","reference":"refres1","attempt":1,"worker":"vm:21657:3afb","until":"2026-11-23T00:14:28.349997Z"}',X'a40f7116e53eeb79c01177e1b299b46a8150ff80d81ab526ae0804e59ff5a362');
INSERT INTO stored_events VALUES(66,'delivery/beta/result/refres1',2,'SendEnded','{"recorded_at":"2026-11-23T00:14:21.352658Z","operator":"beta","kind":"result","reference":"refres1","attempt":1,"outcome":"answered","code":999,"detail":"x","took_ms":1}',X'92faf6b785cc9aba476b6bfd4e90dda3a699ff755b856edf1aef9ea74888239d');
INSERT INTO stored_events VALUES(67,'round/beta/Qrefres1',5,'DeliveryRefused','{"recorded_at":"2026-11-23T00:14:21.352658Z","operator":"beta","round":"Qrefres1","kind":"result","reference":"refres1","code":999,"detail":"x"}',X'652d7dd504ba899e56791a947e4f3649c0b5ea2ba10d146c9a0c4f28d42f4424');
INSERT INTO stored_events VALUES(68,'round/beta/Qrefres1',6,'RoundEnded','{"recorded_at":"2026-11-23T00:14:29.374760Z","operator":"beta","round":"Qrefres1"}',X'891812abe326707eb4b8d34d075da5db68811ee251ca3b8ba58f0b7abf7277c7');
CREATE TABLE seals (
    number integer primary key,
    position integer not null,
    seal text not null
) strict;
INSERT INTO seals VALUES(1,1,'{"position":1,"hash":"dc85359bf1afee25aa735a3c318be7b6c07c82700c8d3a58027085eafe0b9818","root":"8c014afcba68e47bb25eb253921d3241f2f43659404d6807227950d15ae7bf52","peaks":["8c014afcba68e47bb25eb253921d3241f2f43659404d6807227950d15ae7bf52"],"sealed_at":"2026-11-23T00:14:12.756697Z","key":"63845ab5930474a5852bd349abec43246519835eba5c21a503cdb741449f0212","signature":"77899f0ed96d999f5c2b5d889dc6894e9cdc25c785a210d50751894c9958a10473d4073480ede373e3f744ba76e56b1051d983aafbe877c34eeb87702753890a","next_key":""}');
INSERT INTO seals VALUES(2,63,'{"position":63,"hash":"8723f2725729d48d41383eea98b9a12e3fbd8897cc7a3d36cfdc7ccde23d7416","root":"a9ccb62d637c153d6a5977d2eb890aac402c90dc8ba4d11ea75204fb3c4b0848","peaks":["ffecaafcf56fcb2a821a259cd12e36fc30f9f9b93ed255f33ad447a9e3560088","4013c762b98e2ed930af5c8d51c94da22bf7b16a301558411df0a1b31af0cd90","bd7c1c283249c4600df6bfa2be06009734203e357902daefb0df0f77a0bf5456","a39342a75232d7514fd61d1d1bf940083d28a74af82baea7d8ff7a4e53bbe64d","6fa5de36d1867122fc0f3f30d818010c9236df96a22eca11080c241a00c063e1","e45b2583d1ee85f320abb3257c0f516395e96cf29da8da28ef621a13795181c9"],"sealed_at":"2026-11-23T00:14:13.758802Z","key":"63845ab5930474a5852bd349abec43246519835eba5c21a503cdb741449f0212","signature":"7c875cd1aabea6f6f05f9c6e54426db5e56cebd8ac141d2a941797339330ad429e21a3c83ad4eed8580d26ad54648dd4076cfd4c2103c0e4bd2051265276280c","next_key":""}');
INSERT INTO seals VALUES(3,67,'{"position":67,"hash":"652d7dd504ba899e56791a947e4f3649c0b5ea2ba10d146c9a0c4f28d42f4424","root":"d849b4e6b77e3d934c12424300005a5041c5172b86fb12aadf50cf59ddfe5a16","peaks":["7fbb3cd5317ec630017fa8abeafad1a852218a6bc19dce41b1aef35a04de3db8","2908e093afbd4f5c9b5f0c96a3f862329d88e85ab109dd6e80eb0ca041f52f7c","66f698797b5a3a2c4ff1e69978b586432733c5446047fcec4cdc10f27f03dff8"],"sealed_at":"2026-11-23T00:14:21.769598Z","key":"63845ab5930474a5852bd349abec43246519835eba5c21a503cdb741449f0212","signature":"5f4cce0f1c1b06ce5381af506c7e3cda1ce0b33dd5c1d2f6ecf48b5585976c6c39be7865f71ceebe9392b5195e81822702626277fbece5f97f1ace090fcd110e","next_key":""}');
INSERT INTO seals VALUES(4,68,'{"position":68,"hash":"891812abe326707eb4b8d34d075da5db68811ee251ca3b8ba58f0b7abf7277c7","root":"26c4a1a65f357c58d9539f5ec4136950142562dfcd126adf4351b0485ec4945e","peaks":["7fbb3cd5317ec630017fa8abeafad1a852218a6bc19dce41b1aef35a04de3db8","9e2db88bba7bad5f6dcc4f366525a6c23ae2a81f7526925504c0ad1023acc525"],"sealed_at":"2026-11-23T00:14:29.774552Z","key":"63845ab5930474a5852bd349abec43246519835eba5c21a503cdb741449f0212","signature":"41bb5a4a0eb636bbe1121e79017de98ba0d3b826022455fa442d87e4db5f40581f3b9be24f553dcdf3855e9855d3609bfdbb0ce890974e95f19af1aa0d97130c","next_key":""}');
CREATE TABLE deliveries (
    operator text not null,
    kind text not null check (kind in ('bet', 'result', 'end', 'cancel', 'refund')),
    reference text not null,
    round text not null,
    intent integer not null,
    state text not null check (state in ('waiting', 'parked', 'refused', 'confirmed', 'declined', 'given-up')),
    sends integer not null,
    attempts integer not null,
    sending integer not null,
    doubtful integer not null,
    due_at text,
    undelivered_since text,
    last_error text not null,
    code integer,
    primary key (operator, kind, reference)
) strict, without rowid;
INSERT INTO deliveries VALUES('acme','bet','a-1','Pa1',2,'confirmed',1,1,0,0,NULL,NULL,'',0);
INSERT INTO deliveries VALUES('acme','bet','a-3','Pa2',2,'confirmed',1,1,0,0,NULL,NULL,'',0);
INSERT INTO deliveries VALUES('acme','end','Pa1','Pa1',8,'confirmed',1,1,0,0,NULL,NULL,'',0);
INSERT INTO deliveries VALUES('acme','refund','a-3','Pa2',5,'confirmed',1,1,0,0,NULL,NULL,'',0);
INSERT INTO deliveries VALUES('acme','result','a-r1','Pa1',4,'confirmed',1,1,0,0,NULL,NULL,'',0);
INSERT INTO deliveries VALUES('beta','bet','decl1','Qdecl1',2,'declined',1,1,0,0,NULL,NULL,'x',15);
INSERT INTO deliveries VALUES('beta','bet','down1','Qdown1',2,'given-up',2,2,0,1,NULL,NULL,'HTTP 500',NULL);
INSERT INTO deliveries VALUES('beta','bet','parkref1','Qparkref1',2,'confirmed',1,1,0,0,NULL,NULL,'',0);
INSERT INTO deliveries VALUES('beta','bet','refres1','Qrefres1',2,'confirmed',1,1,0,0,NULL,NULL,'',0);
INSERT INTO deliveries VALUES('beta','cancel','down1','Qdown1',4,'parked',2,2,0,1,'2026-11-23T00:17:08.831587Z','2026-11-23T00:14:13.255209Z','HTTP 500',NULL);
INSERT INTO deliveries VALUES('beta','refund','parkref1','Qparkref1',5,'parked',2,2,0,1,'2026-11-23T00:17:28.870202Z','2026-11-23T00:14:13.320714Z','HTTP 500',NULL);
INSERT INTO deliveries VALUES('beta','result','refres1','Qrefres1',4,'refused',1,1,0,0,NULL,'2026-11-23T00:14:21.348441Z','x',999);
CREATE TABLE rounds (
    operator text not null,
    round text not null,
    user text not null,
    game text not null,
    currency text not null,
    scale integer not null,
    status text not null
    check (status in ('InProgress', 'Completed', 'Cancelled', 'CompleteInProcess', 'CancelInProcess')),
    staked integer not null,
    won integer not null,
    opened_at text not null,
    open_since text,
    unanswered integer not null,
    open_bets integer not null,
    reversing integer not null,
    owing integer not null,
    decided integer not null,
    cancelling integer not null,
    cancelled integer not null,
    primary key (operator, round)
) strict, without rowid;
INSERT INTO rounds VALUES('acme','Pa1','ann','vs','USD',2,'Completed',1000,500,'2026-11-23T00:14:12.885319Z',NULL,0,1,0,0,1,0,0);
INSERT INTO rounds VALUES('acme','Pa2','ann','vs','USD',2,'Cancelled',1000,0,'2026-11-23T00:14:12.930532Z',NULL,0,0,0,0,0,1,1);
INSERT INTO rounds VALUES('beta','Qdecl1','ann','vs','USD',2,'InProgress',0,0,'2026-11-23T00:14:12.944415Z',NULL,0,0,0,0,0,0,0);
INSERT INTO rounds VALUES('beta','Qdown1','ann','vs','USD',2,'CancelInProcess',0,0,'2026-11-23T00:14:12.956320Z',NULL,0,0,1,0,0,0,0);
INSERT INTO rounds VALUES('beta','Qparkref1','ann','vs','USD',2,'CancelInProcess',1000,0,'2026-11-23T00:14:13.259390Z',NULL,0,0,1,0,0,1,0);
INSERT INTO rounds VALUES('beta','Qrefres1','ann','vs','USD',2,'CompleteInProcess',1000,500,'2026-11-23T00:14:13.266910Z',NULL,0,1,0,2,1,0,0);
CREATE TABLE sweep (
    name text not null primary key,
    stopped_at text,
    reason text not null,
    confirmed_upto text not null,
    made_at text not null
) strict, without rowid;
INSERT INTO sweep VALUES('retention',NULL,'','','2026-11-23T00:14:12.706377Z');
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
CREATE INDEX deliveries_due on deliveries (operator, due_at) where due_at is not null;
CREATE INDEX deliveries_undelivered on deliveries (undelivered_since)
where undelivered_since is not null;
CREATE INDEX rounds_open on rounds (operator, open_since) where open_since is not null;
CREATE INDEX rounds_opened on rounds (operator, opened_at);
CREATE INDEX rounds_of_player on rounds (operator, user, opened_at);
COMMIT;
